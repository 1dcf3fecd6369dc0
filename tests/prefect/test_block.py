"""The block, by Prefect's own standards and against a real server; and the settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import prefect
import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.plugins import load_prefect_collections
from prefect.testing.standard_test_suites import blocks as standard
from prefect.workers.process import ProcessWorker
from prefect_aws import AwsCredentials
from pydantic import SecretStr, ValidationError

from htcgrid_core import UnknownGrid
from htcgrid_prefect import HTCGrid, run_session
from htcgrid_prefect.flow.settings import HTCGridSettings
from tests.prefect.api import api
from tests.prefect.handlers import square

PREFIX = "PREFECT_INTEGRATIONS_HTCGRID_"


class TestStandards(standard.BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return HTCGrid

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """No network is needed to see that it is a picture of Prefect's own."""
        assert str(block._logo_url) == ProcessWorker._logo_url

    @pytest.mark.skipif(prefect.__version__.startswith("3.8."), reason="Prefect 3.9 moved its documentation")
    def test_has_a_documentation_url(self, block: type[Block]) -> None:
        assert str(block._documentation_url) == str(Secret._documentation_url)


def test_it_is_saved_and_loaded(shared_grid_url: str) -> None:
    block = HTCGrid(url=shared_grid_url, priority="high", max_failures=3, labels={"desk": "rates"})
    block.save("desk", overwrite=True)
    loaded = HTCGrid.load("desk")
    assert isinstance(loaded, HTCGrid)
    assert loaded.model_dump() == block.model_dump()
    assert loaded.options()["max_failures"] == 3
    assert isinstance(loaded.options()["max_failures"], int), "a count, not a share"
    with loaded.get_client() as grid:
        assert grid.url == shared_grid_url
        assert list(grid.map(square, range(3))) == [0, 1, 4]


def test_the_command_line_registers_it(prefect_server: str) -> None:
    """The whole package is a collection, though its names are loaded only when used."""
    command = [sys.executable, "-m", "prefect", "block", "register", "-m", "htcgrid_prefect"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted: Any = {"slug": {"any_": ["htcgrid"]}}
    types = api(prefect_server, "/block_types/filter", block_types=wanted)
    assert [found["name"] for found in types] == ["HTC-Grid"]
    assert types[0]["logo_url"] == str(HTCGrid._logo_url)


def test_options_of_a_call_go_before_the_blocks(shared_grid_url: str) -> None:
    options: Any = {"priority": "low", "tenant": "rates", "task_timeout": 50, "max_attempts": 5, "isolation": "task"}
    block = HTCGrid(url=shared_grid_url, labels={"desk": "rates"}, **options)
    with pytest.warns(FutureWarning):  # outside of a flow
        spec = run_session(square, [1], grid=block, priority="high", labels={"book": "A"}).session.spec
    assert (spec.priority, spec.task_timeout_seconds, spec.retry.max_attempts) == ("high", 50, 5)
    assert (spec.tenant, spec.isolation) == ("rates", "task")
    assert spec.labels == {"desk": "rates", "book": "A"}


def test_settings_are_the_blocks_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}URL", "local:///somewhere")
    monkeypatch.setenv(f"{PREFIX}PRIORITY", "low")
    assert HTCGridSettings().url == "local:///somewhere"
    block = HTCGrid()
    assert (block.url, block.priority, block.pool) == ("local:///somewhere", "low", "default")
    assert HTCGrid(url="local://").url == "local://"


def test_settings_may_stand_in_prefects_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect.toml").write_text('[integrations.htcgrid]\nurl = "local:///of-the-file"\nfailures_shown = 7\n')
    monkeypatch.chdir(tmp_path)
    settings = HTCGridSettings()
    assert (settings.url, settings.failures_shown, settings.pool) == ("local:///of-the-file", 7, "default")


def test_a_session_uses_the_settings(shared_grid_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}URL", shared_grid_url)
    monkeypatch.setenv(f"{PREFIX}PRIORITY", "low")
    with pytest.warns(FutureWarning):  # outside of a flow
        results = run_session(square, [3])
    assert list(results) == [9]
    assert results.session.spec.priority == "low"


def test_credentials_of_prefect_aws_reach_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another block, by reference, also when it comes back from the server."""
    given: list[Any] = []
    monkeypatch.setattr(
        "htcgrid_prefect.flow.blocks.connect", lambda url, aws_session, **_: given.append((url, aws_session))
    )
    credentials = AwsCredentials(
        aws_access_key_id="of-the-desk", aws_secret_access_key=SecretStr("hidden"), region_name="eu-west-1"
    )
    credentials.save("desk-aws", overwrite=True)
    HTCGrid(url="aws://prices", credentials=credentials).save("on-aws", overwrite=True)
    loaded = HTCGrid.load("on-aws")
    assert isinstance(loaded, HTCGrid)
    loaded.get_client()
    ((url, session),) = given
    assert url == "aws://prices"
    assert session.get_credentials().access_key == "of-the-desk"
    assert session.get_credentials().secret_key == "hidden"
    assert session.region_name == "eu-west-1"
    assert "hidden" not in repr(loaded)


def test_without_prefect_aws_there_is_no_such_field(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['prefect_aws'] = None\n"
        "from htcgrid_prefect import HTCGrid\n"
        f"print('credentials' in HTCGrid.model_fields, HTCGrid(url='local://{tmp_path}').get_client().url)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == f"False local://{tmp_path}"


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValidationError, match="priority"):
        HTCGrid(priority="urgent")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValidationError, match="isolation"):
        HTCGrid(isolation="process")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValidationError, match="task_timeout"):
        HTCGrid(task_timeout=-1)
    with pytest.raises(UnknownGrid, match="nosuch"):
        HTCGrid(url="nosuch://").get_client()


def test_importing_prefect_finds_the_collection() -> None:
    """By its entry point, so that whoever loads a block of this type need not import the package first."""
    found = load_prefect_collections()["htcgrid_prefect"]
    assert not isinstance(found, Exception)
    assert found.HTCGrid is HTCGrid
