"""Terraform on the stand-in provider: modules and examples, house rules, policies, and the faults that all must see."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.domain.notification import NotificationState
from htcgrid_core.services import telling
from tests.infra import rules
from tests.infra.mutations import MUTATIONS
from tests.infra.terraform import (
    KEY,
    REPOSITORY,
    SECRETS,
    SOURCES,
    VENV,
    Resource,
    Standin,
    Terraform,
    examples,
    modules,
    version,
)
from tools.monitoring.alerts import ALERTS

OF_THE_GRID = (
    "architecture", "grid", "handler_policy_arns", "log_days", "name", "package", "places", "region", "runtime", "tags",
)  # fmt: skip
_BLOCK = re.compile(r'^resource "(aws_\w+)" "(\w+)" \{\n(.*?)^\}', re.S | re.M)


def test_it_is_formatted(terraform: Terraform) -> None:
    assert terraform.run(".", "fmt", "-check", "-recursive", check=False).stdout == ""


def test_the_schema_is_of_a_release_that_all_take() -> None:
    """Terraform asks no version of a provider that runs already."""
    has = tuple(map(int, version().split(".")))
    for path in SOURCES.glob("*/*/versions.tf"):
        how, wanted = re.findall(r'source += "hashicorp/aws"\n +version += "(~>|>=) ([\d.]+)"', path.read_text())[0]
        least = tuple(map(int, wanted.split(".")))
        assert has >= least, path
        assert how == ">=" or has[0] == least[0], path


@pytest.mark.parametrize("module", modules())
def test_every_module_by_its_own_tests(terraform: Terraform, module: str) -> None:
    terraform.run(module, "init")
    terraform.run(module, "validate")
    variables = {"signing_key": KEY} if "data_plane" in module else {}
    assert "Success!" in terraform.run(module, "test", variables=variables).stdout


@pytest.mark.parametrize("example", examples())
def test_every_example(applied: Callable[[str], list[Resource]], example: str) -> None:
    """Can be applied, and keeps the house rules."""
    assert rules.violations(applied(example)) == []


def test_protection_can_be_taken_away(terraform: Terraform, applied: Callable[[str], list[Resource]]) -> None:
    """Or what was made could not be removed again by Terraform."""
    assert applied("examples/minimal")
    resources = terraform.apply("examples/minimal", deletion_protection="false")
    of_type = {each.type: each.values for each in resources}
    assert of_type["aws_dynamodb_table"]["deletion_protection_enabled"] is False
    assert of_type["aws_eks_cluster"]["deletion_protection"] is False
    assert of_type["aws_s3_bucket"]["force_destroy"] is True
    assert of_type["aws_ecr_repository"]["force_delete"] is not True, (
        "docs/deploy.md says that images are deleted first"
    )


def test_what_the_page_passes_is_a_variable() -> None:
    """Of the example in whose folder a command is run: the first ones are those of ``minimal``."""
    page = (REPOSITORY / "docs" / "deploy.md").read_text()
    passed: dict[str, set[str]] = {}
    for block in re.findall(r"```bash\n(.*?)```", page, re.S):
        example = (re.findall(r"terraform/examples/(\w+)", block) or ["minimal"])[0]
        passed.setdefault(example, set()).update(re.findall(r"(?:-var '?|TF_VAR_)(\w+)=", block))
    assert passed["minimal"] >= {"deletion_protection", "signing_key"}
    for example, variables in passed.items():
        assert variables <= set(_declared(f"examples/{example}")), example


@pytest.mark.parametrize("example", examples())
def test_every_example_can_be_removed(example: str) -> None:
    assert "deletion_protection" in _declared(example)


def test_a_variable_of_several_modules_is_one() -> None:
    """Terraform cannot share declarations: the grid's are one text in all modules, others one type."""
    declared: dict[str, dict[str, str]] = {}
    for module in modules():
        for name, body in _declared(module).items():
            declared.setdefault(name, {})[module] = body
    shared = {name: set(by.values()) for name, by in declared.items() if len(by) > 1}
    assert {name for name in OF_THE_GRID if len(shared[name]) > 1} == set()
    of_several_types = {
        name
        for name, bodies in shared.items()
        if len({re.findall(r"^  type += .*?(?=^  \w)", body + "  x", re.S | re.M)[0] for body in bodies}) > 1
    }
    assert of_several_types == set()


def _declared(folder: str) -> dict[str, str]:
    """Variables and what is said of them."""
    text = (SOURCES / folder / "variables.tf").read_text()
    return dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.S | re.M))


@pytest.mark.parametrize("path", [str(path.relative_to(SOURCES)) for path in sorted(SOURCES.glob("modules/*/"))])
def test_everything_is_described(path: str) -> None:
    for name in ("variables.tf", "outputs.tf"):
        text = (SOURCES / path / name).read_text()
        for kind, title, body in re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', text, re.S | re.M):
            assert "description = " in body, f"{path}: {title}"
            assert kind == "output" or "type " in body, f"{path}: {title}"


def regionless(sources: Path) -> list[str]:
    """Resources that do not say where they are."""
    return [
        f"{path.relative_to(sources)}: {kind}.{name}"
        for path in sorted(sources.glob("modules/*/*.tf"))
        for kind, name, body in _BLOCK.findall(path.read_text())
        if not kind.startswith(rules.GLOBAL) and not re.search(r"^  region +=", body, re.M)
    ]


def test_the_house_rules(complete: list[Resource]) -> None:
    assert rules.violations(complete) == []
    assert regionless(SOURCES) == []


def linted(resources: list[Resource]) -> str:
    """What parliament says of every rendered policy; those of resources with a principal are not its to judge."""
    with tempfile.TemporaryDirectory() as folder:
        policies = [each for each in resources if each.type in ("aws_iam_policy", "aws_iam_role_policy")]
        for each in policies:
            Path(folder, f"{each.address}.json").write_text(each.values["policy"])
        command = [str(VENV / "bin" / "parliament"), "--directory", folder, "--include_policy_extension", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert policies
    return done.stdout or (done.stderr if done.returncode else "")


def test_every_policy(
    complete: list[Resource], lambda_only: list[Resource], applied: Callable[[str], list[Resource]]
) -> None:
    assert linted(complete) == ""
    assert linted(lambda_only) == ""
    assert linted(applied("examples/pipeline")) == ""


def test_what_faults_stand_instead_of_is_there() -> None:
    """So that one that cannot be planted any more is told at once."""
    gone = [name for name, each in MUTATIONS.items() if each.text not in (SOURCES / "modules" / each.file).read_text()]
    assert gone == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_planted_fault_is_seen(tmp_path: Path, standin: Standin) -> None:
    """By the schema, the rules, the policies' check or what the code asks for."""
    blind = []
    for name, mutation in MUTATIONS.items():
        folder = tmp_path / name.replace(" ", "-")
        sources = folder / "sources"
        shutil.copytree(SOURCES, sources)
        file = sources / "modules" / mutation.file
        text = file.read_text()
        file.write_text(text.replace(mutation.text, mutation.instead))
        if not _seen(Terraform(folder, standin, sources), sources, mutation.example):
            blind.append(name)
        shutil.rmtree(folder)
    print(f"{len(MUTATIONS) - len(blind)} of {len(MUTATIONS)} planted faults seen")
    assert blind == []


def _seen(mutated: Terraform, sources: Path, example: str) -> bool:
    if regionless(sources):
        return True
    mutated.run(example, "init", check=False)
    variables = {**SECRETS, "name": "book"}
    if mutated.run(example, "apply", "-auto-approve", check=False, variables=variables).returncode:
        return True
    resources = mutated.state(example)
    if rules.violations(resources) or linted(resources) or KEY in repr(resources):
        return True
    if any(each.type == "aws_sqs_queue" and not each.values["name"].startswith("htcgrid_") for each in resources):
        return True
    mutated.run("modules/data_plane", "init")
    return mutated.run("modules/data_plane", "test", check=False, variables={"signing_key": KEY}).returncode != 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_checkov(terraform: Terraform) -> None:
    """What it is told to skip has its reason in infra/terraform/.checkov.yaml."""
    command = [
        str(VENV / "bin" / "checkov"), "--directory", str(terraform.root / "modules"), "--framework", "terraform",
        "--quiet", "--compact", "--skip-download", "--config-file", str(SOURCES / ".checkov.yaml"), "--output", "json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    report = json.loads(done.stdout)
    failed = {
        f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in report["results"]["failed_checks"]
    }
    assert failed == set()
    assert report["summary"]["passed"] > 50


def test_a_refusal_is_found_in_the_log(lambda_only: list[Resource]) -> None:
    """By the words that the code says (``tests/unit/test_telling.py`` holds them)."""
    patterns = {each.values["pattern"] for each in lambda_only if each.type == "aws_cloudwatch_log_metric_filter"}
    assert patterns == {f'{{ $.event = "{telling.SETTLED % NotificationState.REFUSED}" }}'}


def test_the_runbook_has_every_alarm(complete: list[Resource], lambda_only: list[Resource]) -> None:
    text = (REPOSITORY / "docs" / "runbook.md").read_text()
    headings = set(re.findall(r"^## ([a-z-]+)$", text, re.M))
    alarms = [
        each.values["alarm_name"].replace("htcgrid-lone-", "htcgrid-book-")
        for each in [*complete, *lambda_only]
        if each.type == "aws_cloudwatch_metric_alarm"
    ]
    named = {alert.name for alert in ALERTS}
    found = {heading for heading in headings for alarm in alarms if alarm.startswith(f"htcgrid-book-{heading}")}
    assert all(any(alarm.startswith(f"htcgrid-book-{heading}") for heading in headings) for alarm in alarms)
    assert found | named == headings


def test_no_build_of_the_pipeline_writes_what_the_next_one_runs(applied: Callable[[str], list[Resource]]) -> None:
    """The sources lie in the bucket of artifacts: who builds an image would else say what the release does."""
    found = {
        each.values["name"]: {
            action
            for statement in json.loads(each.values["policy"])["Statement"]
            for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
        }
        for each in applied("examples/pipeline")
        if each.type == "aws_iam_role_policy"
    }
    assert set(found) == {"image", "pipeline", "release"}
    assert [name for name, actions in found.items() if "s3:PutObject" in actions] == ["pipeline"]
    assert [name for name, actions in found.items() if "secretsmanager:GetSecretValue" in actions] == ["release"]
