"""Keys of an API: in a file of its owner's, told apart by secret and id."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from htcgrid_core.api.auth.keys import KeyFile, generated, new_key, read_keys, write_keys
from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.operations import OPERATIONS
from htcgrid_core.cli import api_keys
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput


def test_a_generated_key_is_made_once_and_only_its_owners(tmp_path: Path) -> None:
    path = generated(tmp_path / "api" / "keys.json")
    written = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert generated(path).read_bytes() == written


def test_keys_are_found_by_secret_and_by_id(tmp_path: Path) -> None:
    key = new_key("desk", frozenset({Scope.READ}), frozenset({"acme"}))
    write_keys(tmp_path / "keys.json", [key])
    keys = KeyFile(tmp_path / "keys.json")
    assert keys.by_secret(key.secret) == keys.by_id(key.id) == key
    assert keys.by_secret(key.secret[:-1]) is keys.by_id("HTCG") is None
    assert key.secret not in repr(key)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = generated(tmp_path / "keys.json")
    os.chmod(path, 0o640)
    with pytest.raises(InvalidInput, match="others can read"):
        KeyFile(path)


def test_a_damaged_file_does_not_tell_its_keys(tmp_path: Path) -> None:
    path = generated(tmp_path / "keys.json")
    path.write_text(path.read_text().replace('"local"', '""'))
    with pytest.raises(InvalidInput) as caught:
        KeyFile(path)
    assert "htcgrid_" not in str(caught.value)


def test_a_file_that_is_damaged_later_lets_nobody_in_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("htcgrid_core.api.auth.keys.LOOK_SECONDS", 0.0)
    path = generated(tmp_path / "keys.json")
    whole, keys = path.read_text(), KeyFile(path)
    secret = read_keys(path)[0].secret
    path.write_text(whole[:-20])
    for _ in range(2):
        with pytest.raises(GridUnavailable) as caught:
            keys.by_secret(secret)
        assert str(tmp_path) not in str(caught.value)
    assert str(path) in caplog.text
    assert secret not in caplog.text
    path.write_text(whole)
    assert keys.by_secret(secret) is not None


def test_whom_a_principal_acts_for() -> None:
    everybody = Principal("a", frozenset(), frozenset({"*"}))
    one, two = (Principal("a", frozenset(), frozenset(tenants)) for tenants in (["acme"], ["acme", "other"]))
    assert (everybody.own_tenant, one.own_tenant, two.own_tenant) == ("default", "acme", None)
    assert everybody.serves("acme")
    assert one.serves("acme")
    assert not one.serves("other")


def test_every_operation_has_a_place_and_a_scope_of_its_own() -> None:
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
    assert [one.id for one in OPERATIONS if one.scope is None] == ["healthz"]


def test_keys_that_are_added_and_removed_at_once_are_all_there_and_gone(tmp_path: Path) -> None:
    path, names = tmp_path / "api" / "keys.json", [f"desk-{number}" for number in range(24)]
    add, remove = api_keys.add.callback, api_keys.remove.callback
    assert add is not None
    assert remove is not None
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add(name, ("read",), ("acme",), None, path, False), names))
        assert sorted(key.name for key in read_keys(path)) == sorted(names)
        list(threads.map(lambda name: remove(name, path, False), names[1:]))
    assert [key.name for key in read_keys(path)] == names[:1]
