"""One zip archive with all of the grid's Lambda functions: this package and what it needs, for AWS's Python.

The same sources and locks make the same archive, byte for byte, if the same Python makes it.
"""

from __future__ import annotations

import argparse
import compileall
import platform
import py_compile
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements" / "functions.txt"
PACKAGE = "htcgrid_core"
MAX_UNPACKED_BYTES = 250 << 20  # AWS's own limit, layers included
OWN_SERVICES = frozenset({"dynamodb", "events", "s3", "sns", "sqs", "ssm", "stepfunctions", "sts"})
NOT_RUN = shutil.ignore_patterns("__pycache__", "testing", "*.pyi")
OWN_PYTHON = ".".join(platform.python_version_tuple()[:2])
MOMENT = (2020, 1, 1, 0, 0, 0)  # of every file


def build(output: Path, *, uv: str, python: str, machine: str, only_own_services: bool = False) -> int:
    """Write the archive; its size unpacked, in bytes.

    Args:
        python: of the functions' runtime, as in ``3.12``.
        machine: x86_64 or aarch64 (which AWS calls arm64).
        only_own_services: leave out what boto3 knows of services that the functions themselves do not use. Handlers
            that an agent in a function runs may use others.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Wheels alone: nothing of a dependency is run here, and each is what its lock says.
        command = [uv, "pip", "install", "--quiet", "--no-config", "--only-binary", ":all:", "--require-hashes"]
        target = ["--target", str(folder), "--python-version", python, "--python-platform", f"{machine}-manylinux_2_28"]
        subprocess.run([*command, *target, "-r", str(LOCK)], check=True)
        shutil.rmtree(folder / "bin", ignore_errors=True)
        if only_own_services:
            for service in (folder / "botocore" / "data").iterdir():
                if service.is_dir() and service.name not in OWN_SERVICES:
                    shutil.rmtree(service)
        shutil.copytree(REPOSITORY / PACKAGE, folder / PACKAGE, ignore=NOT_RUN)
        shutil.copy(REPOSITORY / "LICENSE", folder)
        if python == OWN_PYTHON:
            _compile(folder)
        return _pack(folder, output)


def _compile(folder: Path) -> None:
    """A function's folder is read-only: what is not compiled here is compiled at each cold start."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, stripdir=str(folder), invalidation_mode=mode)


def _pack(folder: Path, output: Path) -> int:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    size = sum(path.stat().st_size for path in files)
    if size > MAX_UNPACKED_BYTES:
        raise SystemExit(f"{size:,} bytes unpacked: AWS takes {MAX_UNPACKED_BYTES:,}")
    output.parent.mkdir(parents=True, exist_ok=True)
    half_made = output.with_suffix(".part")
    with zipfile.ZipFile(half_made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    half_made.replace(output)
    return size


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.lambda_zip", description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--python", default=OWN_PYTHON)
    parser.add_argument("--only-own-services", action="store_true", help="of those that boto3 knows")
    parser.add_argument("--machine", default="x86_64", choices=["x86_64", "aarch64"])
    asked = parser.parse_args()
    size = build(
        asked.output, uv=asked.uv, python=asked.python, machine=asked.machine, only_own_services=asked.only_own_services
    )
    packed = asked.output.stat().st_size
    if asked.python != OWN_PYTHON:
        print(f"not compiled, since this is Python {OWN_PYTHON}: cold starts take half a second longer")  # noqa: T201
    print(f"{asked.output}: {packed / 1e6:.1f} MB, {size / 1e6:.1f} MB unpacked, for python{asked.python}")  # noqa: T201


if __name__ == "__main__":
    main()
