"""Result storage that is named by a block: loaded in the flow's process, for workers without an API or secrets."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.filesystems import LocalFileSystem, WritableFileSystem
from prefect.settings import PREFECT_DEFAULT_RESULT_STORAGE_BLOCK, temporary_settings
from pydantic import SecretBytes, SecretStr

from htcgrid_core import InvalidInput
from htcgrid_prefect import HTCGridTaskRunner
from tests.e2e.support import directory_of

CANARY = "canary-51c0de77"


class Vault(WritableFileSystem):
    """A folder behind passwords."""

    _block_type_slug = "htcgrid-test-vault"
    password: SecretStr
    nested: dict[str, list[SecretBytes]]
    folder: str

    def read_path(self, path: str) -> bytes:  # type: ignore[override]  # Prefect dispatches
        return (Path(self.folder) / path).read_bytes()

    def write_path(self, path: str, content: bytes) -> None:  # type: ignore[override]  # likewise
        (Path(self.folder) / path).write_bytes(content)

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where results go."""
    made = tmp_path / "results"
    made.mkdir()
    return made


def block_of(folder: Path) -> str:
    """The name of a block of a folder."""
    name = f"results-{uuid.uuid4()}"
    LocalFileSystem(basepath=str(folder)).save(name)
    return f"local-file-system/{name}"


@pytest.fixture
def block(prefect_server: str, folder: Path) -> str:
    """The name of a block of that folder."""
    return block_of(folder)


@task
def two() -> int:
    return 2


@task
def same(number: int) -> int:
    return number


def outside(url: str, given: Any) -> Any:
    """The result of a call that is made outside of any flow."""
    with HTCGridTaskRunner(url) as runner:
        return runner.submit(given, {}).result()


def test_the_settings_outside_of_a_flow(shared_grid_url: str, block: str, folder: Path) -> None:
    with temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: block}):
        assert outside(shared_grid_url, two.with_options(persist_result=False)) == 2
        assert not list(folder.iterdir())
        assert outside(shared_grid_url, two.with_options(persist_result=True)) == 2
        assert len(list(folder.iterdir())) == 1


def test_a_tasks_own_and_its_cache_policys(shared_grid_url: str, block: str, folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    policy = INPUTS.configure(key_storage=block_of(keys))

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def both() -> list[int]:
        own = two.with_options(result_storage=block, persist_result=True)
        cached = same.with_options(result_storage=block, persist_result=True, cache_policy=policy)
        return [own.submit().result(), cached.submit(2).result()]

    assert both() == [2, 2]
    assert (len(list(folder.iterdir())), len(list(keys.iterdir()))) == (2, 1)
    assert isinstance(policy.key_storage, str), "the user's own is as it was"


@pytest.mark.parametrize("options", [{"result_storage": "local-file-system/no-such"}, {}], ids=["task", "setting"])
def test_one_that_is_not_there_is_named_at_once(shared_grid_url: str, prefect_server: str, options: Any) -> None:
    where = "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK" if not options else "its result storage"
    named = temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: "local-file-system/no-such"})
    with named, pytest.raises(InvalidInput, match=r"'two'.*local-file-system/no-such.*cannot be loaded") as told:
        outside(shared_grid_url, two.with_options(**options))
    assert where in str(told.value)


def test_secrets_of_blocks_stay(shared_grid_url: str, prefect_server: str, folder: Path) -> None:
    """Whether the flow has the storage, or the task; Prefect's own ``include_secrets=False`` leaves them in."""
    vault = Vault(password=SecretStr(CANARY), nested={"keys": [SecretBytes(CANARY.encode())]}, folder=str(folder))
    vault.save(f"vault-{uuid.uuid4()}")

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url), result_storage=vault)
    def whole(given: Vault) -> int:
        own = two.with_options(result_storage=vault, persist_result=True)
        return int(two.submit().result() + own.submit().result())

    assert whole(vault) == 4
    assert list(folder.iterdir()), "what is no secret is there: it was written"
    files = [path for path in directory_of(shared_grid_url).root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert vault.password.get_secret_value() == CANARY, "the flow's own is as it was"
