"""A stream of Kinesis, read shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.errors import aws_errors, code_of, is_missing
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.stream import CursorExpired, Partition, StreamPage, StreamRecord

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

READS_A_SECOND = 5  # of one shard, by all who read it
PAUSE_SECONDS = 1.25 / READS_A_SECOND
MOST_RECORDS = 10_000  # in one answer
_EXPIRED = "ExpiredIteratorException"


class KinesisReader:
    """See ``StreamReader``. Positions are sequence numbers.

    Args:
        stream: its name.
    """

    pause_seconds = PAUSE_SECONDS

    def __init__(self, clients: Clients, stream: str) -> None:
        self._clients, self._stream = clients, stream
        self.name = f"kinesis://{stream}?region={clients.region}"

    def partitions(self) -> list[Partition]:
        """See ``StreamReader``."""
        found: list[Partition] = []
        asked: dict[str, Any] = {"StreamName": self._stream}
        while True:
            with self._errors():
                answer = self._client.list_shards(**asked)
            for shard in answer["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                found.append(Partition(shard["ShardId"], tuple(parent for parent in parents if parent)))
            if not answer.get("NextToken"):
                return found
            asked = {"NextToken": answer["NextToken"]}

    def cursor(self, partition: str, *, at: str | None = None, after: str | None = None, since: float | None) -> Any:
        """See ``StreamReader``."""
        where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if at is not None or after is not None:
            kind = "AT" if at is not None else "AFTER"
            where = {"ShardIteratorType": f"{kind}_SEQUENCE_NUMBER", "StartingSequenceNumber": at or after}
        elif since is not None:
            where = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": since}
        with self._errors(partition):
            answer = self._client.get_shard_iterator(StreamName=self._stream, ShardId=partition, **where)
        return answer["ShardIterator"]

    def read(self, cursor: Any, limit: int) -> StreamPage:
        """See ``StreamReader``."""
        with self._errors():
            answer = self._client.get_records(ShardIterator=cursor, Limit=min(limit, MOST_RECORDS))
        records = [StreamRecord(str(one["SequenceNumber"]), one["Data"]) for one in answer["Records"]]
        return StreamPage(records, answer.get("NextShardIterator"), answer.get("MillisBehindLatest", 0) / 1000)

    def close(self) -> None:
        """See ``StreamReader``."""
        self._clients.close()

    @property
    def _client(self) -> Any:
        return self._clients.of("kinesis", self._clients.region)

    def _errors(self, shard: str = "") -> AbstractContextManager[None]:
        return of_kinesis(self._stream, self._clients.region, shard)


@contextmanager
def of_kinesis(stream: str, region: str, shard: str = "") -> Iterator[None]:
    """Raise what errors of Kinesis in the block mean."""
    with aws_errors(f"Kinesis stream {stream} in {region}"):
        try:
            yield
        except ClientError as error:
            if code_of(error) == _EXPIRED:
                raise CursorExpired from error
            if is_missing(error):
                what = f"no shard {shard} in stream {stream}" if shard else f"no stream {stream}"
                raise InvalidInput(f"there is {what} in {region}") from error
            raise
