"""Terraform on the stand-in provider: modules and examples, house rules, policies, and the faults that all must see."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra import rules
from tests.infra.mutations import MUTATIONS
from tests.infra.terraform import KEY, REPOSITORY, SOURCES, VENV, Resource, Terraform, examples, modules

_BLOCK = re.compile(r'^resource "(aws_\w+)" "(\w+)" \{\n(.*?)^\}', re.S | re.M)


def test_it_is_formatted(terraform: Terraform) -> None:
    assert terraform.run(".", "fmt", "-check", "-recursive", check=False).stdout == ""


@pytest.mark.parametrize("module", modules())
def test_every_module_by_its_own_tests(terraform: Terraform, module: str) -> None:
    terraform.run(module, "init")
    terraform.run(module, "validate")
    variables = {"signing_key": KEY} if "data_plane" in module else {}
    assert "Success!" in terraform.run(module, "test", variables=variables).stdout


@pytest.mark.parametrize("example", examples())
def test_every_example(terraform: Terraform, example: str) -> None:
    terraform.run(example, "init")
    terraform.run(example, "validate")
    terraform.run(example, "plan", variables={"signing_key": KEY})


def test_protection_can_be_taken_away(terraform: Terraform) -> None:
    """Or what was made could not be removed again by Terraform."""
    resources = terraform.apply("examples/minimal", deletion_protection="false")
    of_type = {each.type: each.values for each in resources}
    assert of_type["aws_dynamodb_table"]["deletion_protection_enabled"] is False
    assert of_type["aws_eks_cluster"]["deletion_protection"] is False
    assert of_type["aws_s3_bucket"]["force_destroy"] is True
    assert of_type["aws_ecr_repository"]["force_delete"] is not True, (
        "docs/deploy.md says that images are deleted first"
    )


@pytest.mark.parametrize("example", examples())
def test_what_the_page_passes_is_a_variable(example: str) -> None:
    passed = re.findall(r"(?:-var '?|TF_VAR_)(\w+)=", (REPOSITORY / "docs" / "deploy.md").read_text())
    declared = re.findall(r'^variable "(\w+)"', (SOURCES / example / "variables.tf").read_text(), re.M)
    assert {"deletion_protection", "signing_key"} <= set(passed) <= set(declared)


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
    said = ""
    for each in resources:
        if each.type in ("aws_iam_policy", "aws_iam_role_policy"):
            done = subprocess.run(
                [VENV / "bin" / "parliament"], input=each.values["policy"], capture_output=True, text=True, timeout=60
            )
            said += f"{each.address}: {done.stdout}{done.stderr}" if done.returncode or done.stdout.strip() else ""
    return said


def test_every_policy(complete: list[Resource]) -> None:
    assert linted(complete) == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_planted_fault_is_seen(tmp_path: Path) -> None:
    """By the schema, the rules, the policies' check or what the code asks for."""
    blind = []
    for name, mutation in MUTATIONS.items():
        folder = tmp_path / name.replace(" ", "-")
        sources = folder / "sources"
        shutil.copytree(SOURCES, sources)
        file = sources / "modules" / mutation.file
        text = file.read_text()
        assert mutation.text in text, f"{name}: {mutation.file} has no such text any more"
        file.write_text(text.replace(mutation.text, mutation.instead))
        if not _seen(Terraform(folder, sources), sources):
            blind.append(name)
        shutil.rmtree(folder)
    print(f"{len(MUTATIONS) - len(blind)} of {len(MUTATIONS)} planted faults seen")
    assert blind == []


def _seen(mutated: Terraform, sources: Path) -> bool:
    if regionless(sources):
        return True
    mutated.run("examples/complete", "init", check=False)
    variables = {"signing_key": KEY, "name": "book"}
    if mutated.run("examples/complete", "apply", "-auto-approve", check=False, variables=variables).returncode:
        return True
    resources = mutated.state("examples/complete")
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


def test_the_runbook_has_every_alarm(complete: list[Resource]) -> None:
    text = (REPOSITORY / "docs" / "runbook.md").read_text()
    headings = set(re.findall(r"^## ([a-z-]+)$", text, re.M))
    alarms = [each.values["alarm_name"] for each in complete if each.type == "aws_cloudwatch_metric_alarm"]
    (rules_file,) = (SOURCES / "modules/observability").glob("prometheus.tf")
    named = set(re.findall(r'^ +"([a-z-]+)" +=', rules_file.read_text(), re.M))
    found = {heading for heading in headings for alarm in alarms if alarm.startswith(f"htcgrid-book-{heading}")}
    assert all(any(alarm.startswith(f"htcgrid-book-{heading}") for heading in headings) for alarm in alarms)
    assert found | named == headings
