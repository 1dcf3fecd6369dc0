"""Keys of an API: in a file of its owner's, told apart by secret and id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htcgrid_core.api.auth.keys import KeyFile, generated, new_key, write_keys
from htcgrid_core.api.auth.principal import Principal, Scope
from htcgrid_core.api.operations import OPERATIONS
from htcgrid_core.domain.errors import InvalidInput


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
