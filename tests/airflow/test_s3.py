"""Events from S3 and results to it: Airflow's own ``s3://``, over HTTP, with an Airflow connection to AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from htcgrid_airflow.operators import HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_core import InvalidInput
from tests.airflow.handlers import no_thirteen, triple
from tests.airflow.steps import Step
from tests.aws.emulators import REGION, Account, ministack

BUCKET = "trades"


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """An account with a bucket."""
    with ministack() as url:
        account = Account(url)
        account.s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield account


@pytest.fixture
def s3(account: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket's owner; Airflow finds the account by its connection, and by nothing else."""
    for name in account.environment:
        monkeypatch.delenv(name, raising=False)
    connection = {
        "conn_type": "aws",
        "login": account.id,
        "password": "emulated",
        "extra": {"region_name": REGION, "endpoint_url": account.url},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TRADES", json.dumps(connection))
    return account.s3()


def put(s3: Any, key: str, data: bytes) -> None:
    """An object in the bucket."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=data)


def got(s3: Any, key: str) -> bytes:
    """What is in an object."""
    data: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return data


def submit(url: str, **arguments: Any) -> HTCGridSubmitOperator:
    """The operator, on a grid."""
    return HTCGridSubmitOperator(task_id="fan_out", **{"grid": url, "function": triple, **arguments})


def test_json_lines(grid_url: str, s3: Any) -> None:
    put(s3, "in.jsonl", b"1\n2\n3\n")
    result = f"s3://aws_trades@{BUCKET}/values/out.jsonl"
    operator = submit(grid_url, tasks=f"s3://aws_trades@{BUCKET}/in.jsonl", result=result)
    assert operator.execute(Step().context())["results"] == result
    assert got(s3, "values/out.jsonl") == b"3\n6\n9\n"


def test_parquet(grid_url: str, s3: Any) -> None:
    """The connection is an argument, as where the URL is somebody else's."""
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"number": range(1000)}), sink)
    put(s3, "in.parquet", sink.getvalue().to_pybytes())
    operator = submit(
        grid_url,
        function="tests.airflow.handlers.number_of",
        tasks=f"s3://{BUCKET}/in.parquet",
        tasks_conn_id="aws_trades",
        result=f"s3://{BUCKET}/out.parquet",
        result_conn_id="aws_trades",
    )
    assert operator.execute(Step().context())["completed"] == 1000
    table = parquet.read_table(pyarrow.BufferReader(got(s3, "out.parquet")))
    assert table.column("result").to_pylist() == list(range(1000))


def test_results_of_a_session_that_has_ended(grid_url: str, s3: Any) -> None:
    """The second step collects them; a task that failed has its error in its line."""
    step = submit(grid_url, function=no_thirteen, tasks=[12, 13], retry={"max_attempts": 1}, failure_policy="never")
    manifest = step.execute(Step().context())
    collect = HTCGridResultsOperator(
        task_id="collect",
        grid=grid_url,
        session=manifest,
        failure_policy="never",
        result=f"s3://aws_trades@{BUCKET}/collected.jsonl",
    )
    collect.execute(Step().context())
    values = [json.loads(line) for line in got(s3, "collected.jsonl").splitlines()]
    assert values == [12, {"error": {"index": 1, "type": "ValueError", "message": "13 is no good"}}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": "s3://aws_trades@trades/malformed.jsonl"}, r"malformed\.jsonl, line 2: not a JSON value"),
        ({"tasks": "s3://aws_trades@trades/none.jsonl"}, r"trades/none\.jsonl cannot be read: "),
        ({"tasks": [1], "result": "s3://aws_trades@none/out.jsonl"}, r"none/out\.jsonl cannot be written: "),
    ],
)
def test_what_is_wrong_is_said(grid_url: str, s3: Any, arguments: dict[str, Any], message: str) -> None:
    put(s3, "malformed.jsonl", b'1\n{"a": \n')
    with pytest.raises(InvalidInput, match=message):
        submit(grid_url, **arguments).execute(Step().context())


def test_a_large_result_that_cannot_be_sent_whole_is_not_there(
    grid_url: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an upload in parts; who reads the key finds all results or none."""
    import s3fs  # type: ignore[import-untyped] # no types

    real = s3fs.S3FileSystem._call_s3
    refused: list[int] = []

    async def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "upload_part" and kwargs["PartNumber"] == 2:
            refused.append(2)
            raise OSError("the second part is refused")
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **__: 5 << 20)
    operator = submit(
        grid_url,
        function="tests.airflow.handlers.a_megabyte",
        tasks=list(range(11)),
        result=f"s3://aws_trades@{BUCKET}/large.jsonl",
    )
    with pytest.raises(InvalidInput, match="the second part is refused"):
        operator.execute(Step().context())
    assert refused
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="large")
