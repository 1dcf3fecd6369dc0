"""Vectors in S3 that the grid's Lambda functions read with pyarrow, which these tests have."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pyarrow
import pyarrow.parquet

from htcgrid_core.adapters.aws.s3.objects import S3Objects
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.lambdas.vectors import vector
from tests.aws.emulators import REGION, Account
from tests.aws.grids import clients_of


def test_parquet(aws_account: Account) -> None:
    """A file is read by range, from its end, and its dates are texts, as a named handler gets them."""
    file, where = io.BytesIO(), S3Uri(f"books-{aws_account.id}", "in/book.parquet")
    days = [datetime.date(2026, 11, 29), None]
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2], "day": days}), file)
    configuration: Any = {"LocationConstraint": REGION}
    aws_account.s3().create_bucket(Bucket=where.bucket, CreateBucketConfiguration=configuration)
    aws_account.s3().put_object(Bucket=where.bucket, Key=where.key, Body=file.getvalue())
    found = vector(S3Objects(clients_of(aws_account)), where)
    assert list(found) == [{"a": 1, "day": "2026-11-29"}, {"a": 2, "day": None}]
