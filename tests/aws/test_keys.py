"""Rotation on AWS: agents that run learn the new key; bootstrap and teardown know of it; what a role needs for it."""

from __future__ import annotations

import json

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.parameter import key_name
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap, plan_teardown, teardown
from htcgrid_core.domain.errors import AccessDenied
from tests.aws.grids import NAME, CloudUnderTest, clients_of, settings_of
from tests.e2e.support import ended
from tests.planes import plane_of


def negated(event: int) -> int:
    return -event


def keys_of(cloud: CloudUnderTest) -> list[int]:
    stored = SsmKeys(clients_of(cloud.account), NAME, key_name(NAME)).read()
    return [each.number for each in stored.keys]


def test_an_agent_that_runs_goes_on(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    agent = aws_cloud.start_agent()
    before = aws_grid.submit(negated, [1])
    ended(before)
    made = json.loads(aws_cloud.run("keys", "rotate", "--json").stdout)
    with connect(aws_cloud.url) as later:
        after = later.submit(negated, [2])
        ended(after)
        assert list(after.results()) == [-2]
        assert plane_of(later).store.session(after.id, 0.0).parsed_spec().signing_key == made["key"]
        assert list(later.session(before.id).results()) == [-1]
    assert agent.poll() is None
    old, new = map(json.loads, aws_cloud.run("keys", "list", "--json").stdout.splitlines())
    assert (old["signs"], old["ended"], new["signs"], new["ended"]) == (False, 1, True, 1)


def test_bootstrap_does_not_make_the_first_key_again(aws_cloud: CloudUnderTest) -> None:
    aws_cloud.run("keys", "rotate")
    dropped = aws_cloud.run("keys", "prune", "--force")
    assert dropped.returncode == 0, dropped.stderr
    bootstrap(Address(NAME, settings_of(aws_cloud.account)), ["more"])
    assert keys_of(aws_cloud) == [2]
    assert aws_cloud.run("doctor").returncode == 0


def test_teardown_removes_all_keys(aws_cloud: CloudUnderTest) -> None:
    for _ in range(2):
        aws_cloud.run("keys", "rotate")
    assert keys_of(aws_cloud) == [1, 2, 3]
    address = Address(NAME, settings_of(aws_cloud.account))
    assert not plan_teardown(address).left
    teardown(address)
    found = aws_cloud.account.client("ssm").get_parameters_by_path(Path="/htcgrid", Recursive=True)["Parameters"]
    assert found == []


def test_an_agent_that_may_not_read_the_new_key_hands_the_work_back(
    aws_cloud: CloudUnderTest, aws_grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails for its lack of a permission; it says what it lacks."""
    with monkeypatch.context() as patched:

        def refuse(_: SsmKeys) -> None:
            raise AccessDenied("this role may not ssm:GetParametersByPath")

        patched.setattr(SsmKeys, "_read_later", refuse)
        blind = connect(aws_cloud.url)
    plane = plane_of(blind)
    aws_cloud.run("keys", "rotate")
    with connect(aws_cloud.url) as later:
        session = later.submit(negated, [2])
    spec = plane.store.session(session.id, 0.0).parsed_spec()
    monkeypatch.setattr(SsmKeys, "_read_later", refuse)
    with pytest.raises(AccessDenied, match="GetParametersByPath"):
        plane.keys.find(spec.signing_key)
