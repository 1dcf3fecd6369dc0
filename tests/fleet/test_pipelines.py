"""The example pipelines: their scripts on a real server, their files by the schemas of those who read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from htcgrid_core import connect
from tests.e2e.support import REPOSITORY
from tests.served import Server, serving

PIPELINES = REPOSITORY / "infra" / "pipelines"
Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pipelines")
    with serving(f"local://{folder}/grid?slots=2&idle=20", folder / "keys.json") as found:
        yield found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that may be changed."""
    folder = tmp_path_factory.mktemp("checkout") / "pipelines"
    shutil.copytree(PIPELINES, folder)
    return folder


@pytest.fixture
def run(server: Server, checkout: Path) -> Script:
    def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": programs, "HTCGRID_URL": server.url, "HTCGRID_API_TOKEN": server.token}
        command = [str(checkout / name), *arguments]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120)

    return script


def test_a_release_a_bad_one_and_back(run: Script, checkout: Path, server: Server) -> None:
    """Whoever submits under the alias never meets the bad version."""
    release = ("release.sh", "pricing", "pricing", "app.handler")
    first = run(*release)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == ["deployed pricing:1; live is not there yet", "live is version 1"]

    app = checkout / "pricing" / "app.py"
    good = app.read_text()
    app.write_text(good.replace("-0.03", "-0.04"))
    wrong = run(*release)
    assert (wrong.returncode, wrong.stdout) == (1, "deployed pricing:2; live is version 1\n")
    assert "pricing:2 does not give what is expected" in wrong.stderr

    app.write_text(good.replace('event["notional"]', 'event["nominal"]'))
    failing = run(*release)
    assert (failing.returncode, failing.stdout) == (1, "deployed pricing:3; live is version 1\n")
    assert "KeyError" in failing.stderr
    assert server.token not in failing.stderr + failing.stdout

    assert run("rollback.sh", "pricing", "2").stdout == "live is version 2\n"
    missing = run("rollback.sh", "pricing", "9")
    assert (missing.returncode != 0, "is not deployed" in missing.stderr) == (True, True)
    assert valued(server, "pricing:live") == [96.08]


DOCKER = """\
#!/bin/sh
# A Docker, and a repository whose tags never change: STATE/pushed is the image's digest.
echo "$*" >> "$STATE/calls"
case "$*" in
    login*) cat > /dev/null ;;
    "buildx imagetools inspect "*) cat "$STATE/pushed" ;;
    "context inspect "*) test -f "$STATE/context" ;;
    "context create "*) touch "$STATE/context" ;;
    "buildx inspect "*) test -f "$STATE/builder" ;;
    "buildx create "*"--driver docker-container htcgrid") test -f "$STATE/context" && touch "$STATE/builder" ;;
    "buildx build --builder htcgrid "*--push*) test ! -f "$STATE/pushed" && echo "sha256:$$" > "$STATE/pushed" ;;
    *) exit 1 ;;
esac
"""


def test_an_image_is_built_once(tmp_path: Path) -> None:
    """A pipeline that is run again has no other image of the same tag; and nothing but a digest is said."""
    for name, text in (("docker", DOCKER), ("aws", "#!/bin/sh\necho password\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATE": str(tmp_path)}
    command = [str(PIPELINES / "image.sh"), "1.dkr.ecr.eu-west-1.amazonaws.com/grid/agent", "abc"]

    def said() -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    digest = said()
    assert digest == (tmp_path / "pushed").read_text()
    assert said() == digest
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if call.startswith("buildx build ")]) == 1
    assert calls[0] == "login --username AWS --password-stdin 1.dkr.ecr.eu-west-1.amazonaws.com"


def valued(server: Server, function: str) -> list[float]:
    """A session that a program without this package submits: Python's client names versions, and no aliases."""
    body = json.dumps({"function": function, "events": [{"notional": 100, "years": 1}]}).encode()
    headers = {
        "Authorization": f"Bearer {server.token}",
        "Content-Type": "application/json",
        "Idempotency-Key": "by the alias",
    }
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/v1/sessions", body, headers), timeout=60
    ) as answer:
        session = json.load(answer)["id"]
    with connect(server.url, api_token=server.token) as grid:
        return list(grid.session(session).results())


def checker(name: str) -> str:
    """A program of the tools' environment, without which a test is skipped."""
    program = REPOSITORY / ".venv-infra" / "bin" / name
    if not program.exists():
        assert not os.environ.get("CI"), "make .venv-infra/ready was not run"
        pytest.skip("make .venv-infra/ready was not run")
    return str(program)


def refused(*command: str) -> str:
    """What a checker says against its file; empty if nothing."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


SCHEMAS = {
    "github-actions": ("vendor.github-workflows",),
    "gitlab-ci": ("vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
}


@pytest.mark.parametrize(
    ("name", "text", "instead"), [("github-actions", "runs-on:", "runs_on:"), ("gitlab-ci", "build-image:", "image:")]
)
def test_github_and_gitlab_take_their_files(tmp_path: Path, name: str, text: str, instead: str) -> None:
    """By the schemas that check-jsonschema brings along; and not what is no pipeline."""
    command = (checker("check-jsonschema"), "--builtin-schema", *SCHEMAS[name])
    found = (PIPELINES / f"{name}.yml").read_text()
    assert refused(*command, str(PIPELINES / f"{name}.yml")) == ""
    wrong = tmp_path / f"{name}.yml"
    wrong.write_text(found.replace(text, instead))
    assert "Schema validation errors" in refused(*command, str(wrong))


@pytest.mark.parametrize(
    ("text", "instead"),
    [("", ""), ("@11bd71901bbe5b1630ceea73d27597364c9af683", "@v4"), ('"$VERSION"', "${{ inputs.roll_back_to }}")],
)
def test_the_workflow_is_safe(tmp_path: Path, text: str, instead: str) -> None:
    """By zizmor: actions by commit, least permissions, nobody's text in a script; and what is not so is seen."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "grid.yml").write_text((PIPELINES / "github-actions.yml").read_text().replace(text, instead))
    found = refused(checker("zizmor"), "--offline", "--no-progress", str(tmp_path))
    assert bool(found) == bool(instead), found


@pytest.mark.parametrize("name", ["image", "release"])
def test_build_specifications(name: str) -> None:
    """CodeBuild publishes no schema: its reference names these keys."""
    found = yaml.safe_load((PIPELINES / f"buildspec-{name}.yml").read_text())
    assert found["version"] == 0.2
    assert set(found) <= {"version", "env", "phases"}
    assert set(found["env"]) <= {"shell", "exported-variables"}
    assert set(found["phases"]) <= {"install", "pre_build", "build", "post_build"}
    for phase in found["phases"].values():
        assert set(phase) <= {"runtime-versions", "commands"}
        assert all(isinstance(command, str) for command in phase.get("commands", ()))


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("*.yml")), ids=lambda path: path.name)
def test_what_they_run_is_there(path: Path) -> None:
    named = re.findall(r"(?:infra|agent)/[\w./-]+", path.read_text())
    assert named
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
    for script in re.findall(r"infra/pipelines/\w+\.sh", path.read_text()):
        assert os.access(REPOSITORY / script, os.X_OK)


def test_terraforms_pipeline_runs_them() -> None:
    text = (REPOSITORY / "infra/terraform/examples/pipeline/main.tf").read_text()
    assert 'buildspec = "infra/pipelines/buildspec-${each.key}.yml"' in text
    assert {path.stem for path in PIPELINES.glob("buildspec-*.yml")} == {"buildspec-image", "buildspec-release"}
    assert text.count('name = "ROLL_BACK_TO", value = "#{variables.ROLL_BACK_TO}"') == 2, "of both builds"


@pytest.mark.parametrize(("back_to", "digest"), [("none", "sha256:1"), ("3", "none")])
def test_rolling_back_builds_no_image(tmp_path: Path, back_to: str, digest: str) -> None:
    script = tmp_path / "infra" / "pipelines" / "image.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho sha256:1\n")
    script.chmod(0o755)
    commands = yaml.safe_load((PIPELINES / "buildspec-image.yml").read_text())["phases"]["build"]["commands"]
    variables = {"ROLL_BACK_TO": back_to, "REPOSITORY": "r", "CODEBUILD_RESOLVED_SOURCE_VERSION": "abc"}
    lines = "\n".join([*commands, "printenv DIGEST"])
    shell = ["bash", "-ec", lines]
    ran = subprocess.run(shell, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, f"{digest}\n"), ran.stderr
