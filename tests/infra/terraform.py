"""Terraform on the stand-in provider, in a copy of its sources: no lock file or state gets into the repository."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.standin.extract import schema_of

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "infra" / "terraform"
VENV = REPOSITORY / ".venv-infra"
FILES = VENV / "files"
KEY = "ab" * 32
REGIONS = ("eu-central-1", "eu-west-1")  # of examples/multi_region
SECRETS = {"signing_key": KEY, "signing_keys": json.dumps(dict.fromkeys(REGIONS, KEY))}
RUN_SECONDS = 240
PACKAGE = "build/htcgrid-lambdas.zip"  # where the examples look for it, from the repository
NOTHING: Mapping[str, str] = {}
_USED = re.compile(r'^\s*(resource|data) "(aws_\w+)" "', re.M)


def modules() -> list[str]:
    """Folders with modules, relative to the sources."""
    return sorted(str(path.parent.relative_to(SOURCES)) for path in (SOURCES / "modules").glob("*/main.tf"))


def examples() -> list[str]:
    """Folders with roots."""
    return sorted(str(path.parent.relative_to(SOURCES)) for path in (SOURCES / "examples").glob("*/main.tf"))


def provider_wheel() -> Path:
    """The package from which the schema is read."""
    (wheel,) = FILES.glob("cdktn_provider_aws-*.whl")
    return wheel


def schema_file() -> Path:
    """The schema of the types that occur in the sources, read once."""
    used = {found for path in SOURCES.rglob("*.tf") for found in _USED.findall(path.read_text())}
    extractor = (REPOSITORY / "tests/infra/standin/extract.py").read_bytes()
    name = hashlib.sha256(repr((sorted(used), provider_wheel().name, extractor)).encode()).hexdigest()[:16]
    target = FILES / f"schema-{name}.json"
    if not target.exists():
        resources = {each for kind, each in used if kind == "resource"}
        data_sources = {each for kind, each in used if kind == "data"}
        text = json.dumps(schema_of(provider_wheel(), resources, data_sources))
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.rename(target)
    return target


@dataclass(frozen=True)
class Resource:
    """One resource of an applied state.

    Attributes:
        address: ``module.data_plane.aws_sqs_queue.this["default_high"]``.
    """

    address: str
    type: str
    values: dict[str, Any]


class Standin:
    """The stand-in for the provider, as a process that all commands of Terraform reattach to."""

    def __init__(self) -> None:
        environment = {"PATH": os.environ["PATH"], "HTCGRID_STANDIN_SCHEMA": str(schema_file())}
        command = [str(VENV / "bin" / "python"), "-m", "tests.infra.standin"]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.reached = self._process.stdout.readline().strip()
        assert self.reached, "the stand-in did not start"

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)


class Terraform:
    """A copy of the sources, and the provider.

    Args:
        folder: of the test.
        sources: to copy; the repository's own unless a test changed some.
    """

    def __init__(self, folder: Path, standin: Standin, sources: Path = SOURCES) -> None:
        self.root = folder / "infra" / "terraform"
        self.standin = standin
        shutil.copytree(sources, self.root, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        for path in [
            *(REPOSITORY / "htcgrid_core").rglob("*.json"),
            *(REPOSITORY / "example_dags").rglob("*.asl.json"),
            REPOSITORY / "infra/monitoring/rules.yaml",
        ]:
            page = folder / path.relative_to(REPOSITORY)
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, page)
        package = folder / PACKAGE
        package.parent.mkdir()
        package.write_bytes(b"not a real archive")
        self._settings = folder / "terraformrc"
        self._settings.write_text("")  # and not those of whoever runs this

    def run(
        self, folder: str, *arguments: str, check: bool = True, variables: Mapping[str, str] = NOTHING
    ) -> subprocess.CompletedProcess[str]:
        """A command of terraform in one folder of the copy."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._settings.parent),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_CLI_CONFIG_FILE": str(self._settings),
            "TF_REATTACH_PROVIDERS": self.standin.reached,
            **{f"TF_VAR_{name}": value for name, value in variables.items()},
        }
        done = subprocess.run(
            ["terraform", *arguments, *(() if arguments[0] in ("show", "fmt") else ("-no-color",))],
            cwd=self.root / folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        if check and done.returncode:
            raise AssertionError(f"terraform {' '.join(arguments)} in {folder}:\n{done.stdout}\n{done.stderr}")
        return done

    def apply(self, folder: str, **variables: str) -> list[Resource]:
        """Apply a root on the stand-in; what is then there."""
        self.run(folder, "init")
        self.run(folder, "apply", "-auto-approve", variables={**SECRETS, **variables})
        return self.state(folder)

    def state(self, folder: str) -> list[Resource]:
        """All resources of an applied root."""
        shown = json.loads(self.run(folder, "show", "-json").stdout)
        return list(_resources(shown["values"]["root_module"]))


def version() -> str:
    """Of the AWS provider whose schema the stand-in has: as the examples ask for, and some patch of it."""
    with zipfile.ZipFile(provider_wheel()) as wheel:
        name = next(each for each in wheel.namelist() if each.endswith("/METADATA"))
        found = re.search(r"hashicorp/aws/(\d+\.\d+\.\d+)", wheel.read(name).decode())
    assert found is not None
    return found.group(1)


def _resources(module: dict[str, Any]) -> Iterator[Resource]:
    for each in module.get("resources", ()):
        if each["mode"] == "managed":
            yield Resource(each["address"], each["type"], each["values"])
    for child in module.get("child_modules", ()):
        yield from _resources(child)
