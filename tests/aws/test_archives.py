"""Archives and holds on AWS: to DynamoDB and S3 and back, with the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.codecs.signing import Key
from htcgrid_core.domain.errors import SignatureInvalid
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import holds
from htcgrid_core.services.archives.exporting import export
from htcgrid_core.services.archives.importing import import_archive
from htcgrid_core.services.results import events_in_order, in_index_order
from tests.aws.grids import CloudUnderTest
from tests.manual_agent import finish, parse, submit
from tests.planes import KEY, memory_plane, spec

ID = "s-archived"


def seen(plane: Plane) -> list[object]:
    """All that readers see of its events and results."""
    record = plane.store.session(ID, plane.clock.now())
    tasks = [(index, one and bytes(one.payload)) for index, one in in_index_order(plane, record, parse(record))]
    return [*events_in_order(plane, record, parse(record)), *tasks]


@pytest.mark.parametrize(("codec", "tasks"), [("json", 4), ("pickle", 40)])
def test_there_and_back(aws_cloud: CloudUnderTest, tmp_path: Path, codec: str, tasks: int) -> None:
    """A small session of one lane, and one of several; inline, and in blobs; and one on hold keeps all of it."""
    here, cloud = memory_plane(tmp_path / "here"), open_cloud(parse_aws(aws_cloud.url))
    try:
        there = cloud.plane
        submit(here, ID, spec(codec=codec, bundle_size=1), ["x" * 20_000, *range(tasks)], idempotent=True)
        finish(here, lambda event: event)
        file = io.BytesIO()
        export(here, [ID], file)
        if codec == "pickle":
            with pytest.raises(SignatureInvalid):
                import_archive(there, file, actor="alice")
        assert [one.is_new for one in import_archive(there, file, actor="alice", key=Key(KEY))] == [True]
        assert there.store.session(ID, there.clock.now()).state is SessionState.COMPLETED
        assert seen(there) == seen(here)
        assert [one.is_new for one in import_archive(there, file, actor="alice", key=Key(KEY))] == [False]
        assert there.blobs.keys(f"sessions/{ID}/")
        holds.hold(there, ID, actor="alice", reason="case")
        assert seen(there) == seen(here)
        back, again = memory_plane(tmp_path / "back"), io.BytesIO()
        export(there, [ID], again)
        import_archive(back, again, actor="alice", key=there.keys.signer())
        assert seen(back) == seen(here)
    finally:
        cloud.close()
