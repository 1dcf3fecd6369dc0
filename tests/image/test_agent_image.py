"""The agent's image: its Dockerfile is linted, and its steps run in a folder, since tests have no Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest, cloud
from tests.e2e.support import ended, eventually
from tests.image.dockerfile import Step, steps

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "agent"
STEPS = steps(FOLDER / "Dockerfile")
UID = "10001"


def only(name: str) -> Step:
    """The image's one instruction of a name."""
    (found,) = [step for step in STEPS if step.stage == 1 and step.name == name]
    return found


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The entrypoint."""
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [str(FOLDER / "entrypoint.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_dockerfile_is_linted() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(program), str(FOLDER / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def installs() -> list[str]:
    """The commands that install Python packages."""
    commands = [command for step in STEPS if step.name == "RUN" for command in step.text.split("&&")]
    return [command for command in commands if re.search(r"\bpip\b.* install ", command)]


def test_it_builds_from_locked_wheels_alone() -> None:
    assert len(installs()) == 3
    for command in installs():
        assert "--no-index" in command or {"--only-binary", ":all:", "--require-hashes"} <= set(command.split())


def test_every_stage_has_the_one_base() -> None:
    """Which ``--build-arg BASE`` pins by its digest."""
    assert [step.text for step in STEPS if step.name == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_it_has_no_pip() -> None:
    """Neither of the base, nor of the environment that is copied."""
    steps_of_the_image = [step.text for step in STEPS if step.stage == 1 and step.name == "RUN"]
    assert any(
        "pip uninstall --yes pip setuptools wheel" in text and "/ensurepip" in text for text in steps_of_the_image
    )
    (made,) = [step.text for step in STEPS if step.name == "RUN" and "venv" in step.text]
    assert "-m venv --without-pip /opt/htcgrid" in made


def test_the_readme_has_its_python() -> None:
    (default,) = [
        step.text.partition("=")[2] for step in STEPS if step.name == "ARG" and step.text.startswith("PYTHON=")
    ]
    assert f"in Python {default} on Debian" in (FOLDER / "README.md").read_text()


def test_it_runs_as_nobody_of_importance() -> None:
    assert only("USER").text == f"{UID}:{UID}"
    assert only("ENV").variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert json.loads(only("ENTRYPOINT").text)[0] == "tini"
    assert only("STOPSIGNAL").text == "SIGTERM"


def test_all_that_is_copied_is_there_and_let_in() -> None:
    rules = [line for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    copied = [
        source for step in STEPS if step.name == "COPY" and "--from" not in step.text for source in step.words[:-1]
    ]
    assert set(copied) == set(let_in)
    for source in copied:
        assert (REPOSITORY / source).exists()
    assert not any(fnmatch(source, ".*") for source in let_in)


def test_it_serves_the_api_if_it_is_told_to() -> None:
    """The command is there; it has no credentials here."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert "Serve a grid over HTTP" in run("serve", "--help", HTCGRID_URL="aws://book", PATH=path).stdout


@pytest.mark.parametrize("url", ["", "local://", "book"])
def test_it_wants_a_grid(url: str) -> None:
    """Or it would begin an embedded grid inside of a container."""
    done = run(HTCGRID_URL=url)
    assert done.returncode == 2
    assert "HTCGRID_URL must name the grid" in done.stderr


def test_it_is_not_healthy_without_an_agent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run("healthy", HTCGRID_HEALTH_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in the place of the image's root, which its user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="htcgrid-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def python_for(user: list[str]) -> str:
    """A Python that the image's user may run: this one may be in somebody's home."""
    wanted = "import ensurepip, venv, sys; assert sys.version_info >= (3, 11)"
    for candidate in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [*user, "sh", "-c", '"$0" "$@"', candidate, "-c", wanted]  # by a shell, as the entrypoint does it
        if Path(candidate).exists() and subprocess.run(command, capture_output=True, timeout=60).returncode == 0:
            return candidate
    pytest.skip("user 10001 may run no Python of this machine")


def built(root: Path, python: str) -> dict[str, str]:
    """Run the steps that need no Debian, with ``/opt`` and all else below ``root``; the image's variables."""
    work, variables = root, dict(os.environ)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(python)
    for step in STEPS:
        text = step.text.replace("/opt/", f"{root}/opt/").replace("/var/", f"{root}/var/")
        if step.name == "WORKDIR" and step.stage == 0:
            work = root / step.text.lstrip("/")
            work.mkdir(parents=True)
        elif step.name == "COPY" and step.stage == 0:
            *sources, target = step.words
            for source in sources:
                place = work / target
                copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
                place.parent.mkdir(parents=True, exist_ok=True)
                if target.endswith("/"):
                    place.mkdir(exist_ok=True)
                copy(REPOSITORY / source, place)
        elif step.name == "RUN" and step.stage == 0:
            path = f"{root}/bin:{os.environ['PATH']}"
            subprocess.run(["sh", "-euc", text], cwd=work, env={**os.environ, "PATH": path}, check=True, timeout=400)
        elif step.name == "ENV":
            variables = {"PATH": f"{root}/opt/htcgrid/bin:/usr/bin:/bin", **Step(1, "ENV", text).variables}
    return {**variables, "PATH": f"{root}/opt/htcgrid/bin:/usr/bin:/bin", "HOME": str(root / "tmp")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_steps_make_an_agent(
    root: Path, aws_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built, started as the image's user, probed by the image's own health check, drained by SIGTERM."""
    as_user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    variables = built(root, python_for(as_user))
    assert not list(root.glob("opt/htcgrid/bin/pip*"))
    assert not list(root.glob("opt/htcgrid/lib/python3*/site-packages/pip*"))
    for folder in ("tmp", "var/cache/htcgrid"):
        (root / folder).mkdir(parents=True)
        (root / folder).chmod(0o777)
    entrypoint = shutil.copy(FOLDER / "entrypoint.sh", root / "htcgrid-agent")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        variables["HTCGRID_HEALTH_PORT"] = str(probe.getsockname()[1])
    with cloud(aws_account, tmp_path, monkeypatch) as grid_under_test:
        variables |= aws_account.environment | {"HTCGRID_URL": grid_under_test.url, "HTCGRID_SLOTS": "2"}
        _works(grid_under_test, [*as_user, str(entrypoint)], variables, root)


def _works(under_test: CloudUnderTest, command: list[str], variables: dict[str, str], root: Path) -> None:
    def healthy() -> bool:
        (check,) = [json.loads(step.text.partition(" CMD ")[2]) for step in STEPS if step.name == "HEALTHCHECK"]
        assert check == ["htcgrid-agent", "healthy"]
        return subprocess.run([*command, "healthy"], env=variables, cwd=root / "tmp", timeout=60).returncode == 0

    agent = subprocess.Popen(command, env=variables, cwd=root / "tmp")
    try:
        eventually(healthy, "the container is healthy")
        with connect(under_test.url) as grid:
            assert ended(grid.submit("operator.is_not", range(20))).completed == 20  # a handler that every Python has
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=60) == 0
        assert not healthy()
    finally:
        agent.kill()
        agent.wait()
