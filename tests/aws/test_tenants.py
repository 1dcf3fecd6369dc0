"""All that a tenant's session leaves on AWS has the tenant in its key, so that a policy can grant or deny it."""

from __future__ import annotations

from htcgrid_core import Grid
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.services.commit import commit
from tests.aws.grids import CloudUnderTest
from tests.manual_agent import run, take
from tests.planes import plane_of


def test_keys_begin_with_the_tenant(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    """``dynamodb:LeadingKeys`` of ``S#mine.*``, ``A#mine.*`` and ``mine.*``; objects below ``sessions/mine.*``."""
    session = aws_grid.submit("tests.e2e.handlers.double", ["x" * 500] * 100, tenant="mine", bundle_size=50)
    for root in range(2):
        work = take(plane_of(aws_grid), Hint(session.id, root_id(root)))
        assert work is not None
        commit(plane_of(aws_grid), work, run(plane_of(aws_grid), work, lambda event: 2 * event).outcomes, (), None)
    assert session.wait(timeout=30).state == "COMPLETED"
    assert [found.id for found in aws_grid.sessions(tenant="mine")] == [session.id]
    cloud = open_cloud(parse_aws(aws_cloud.url))
    table, bucket = cloud.parameter.table, cloud.parameter.bucket
    items = aws_cloud.account.dynamodb().scan(TableName=table)["Items"]
    keys = {item["pk"]["S"] for item in items} - {"AGENTS"}
    assert len(keys) >= 2, keys
    assert all(key.startswith(("S#mine.", "A#mine.", "mine.")) for key in keys), keys
    blobs = [found["Key"] for found in aws_cloud.account.s3().list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(blobs) == 3, "both bundles' events together, and the outcomes of each"
    assert all(key.startswith(f"sessions/{session.id}/") for key in blobs), blobs
    cloud.close()
