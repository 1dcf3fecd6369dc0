"""All that a tenant's session leaves on AWS has the tenant in its key, so that a policy can grant or deny it."""

from __future__ import annotations

from htcgrid_core import Grid
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import ended


def test_keys_begin_with_the_tenant(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    """``dynamodb:LeadingKeys`` of ``S#mine.*`` and ``mine.*``; objects below ``sessions/mine.*``."""
    aws_cloud.start_agent()
    session = aws_grid.submit("tests.e2e.handlers.double", ["x" * 500] * 100, tenant="mine", bundle_size=50)
    assert ended(session).state == "COMPLETED"
    assert [found.id for found in aws_grid.sessions(tenant="mine")] == [session.id]
    plane = open_cloud(parse_aws(aws_cloud.url))
    table, bucket = plane.parameter.table, plane.parameter.bucket
    clients = plane.queue._clients
    keys = {item["pk"]["S"] for item in clients.dynamodb.scan(TableName=table)["Items"]} - {"AGENTS"}
    assert len(keys) >= 2, keys
    assert all(key.startswith(("S#mine.", "mine.")) for key in keys), keys
    blobs = [found["Key"] for found in clients.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert blobs
    assert all(key.startswith(f"sessions/{session.id}/") for key in blobs), blobs
    plane.close()
