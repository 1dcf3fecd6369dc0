"""Calls of DynamoDB tried again: with random pauses that grow, and the grid's errors where that does not help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from htcgrid_core.adapters.aws.errors import code_of, grid_error, is_throttle
from htcgrid_core.domain.errors import GridUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

TRIES = 8
BASE_SECONDS, CAP_SECONDS = 0.01, 1.0


class WriteRefused(Exception):
    """A condition that did not hold, or a conflict with another transaction, before it is looked at."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(str(error))
        self.error = error


class RetriedCalls:
    """Calls about one table; may be made from many threads.

    Args:
        client: gives boto3's client, one for each process.
        table: the table's name.
        sleep: waits before a call is tried again, for a number of seconds.
    """

    def __init__(self, client: Callable[[], DynamoDBClient], table: str, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._name = table
        self._sleep = sleep
        self._rng = random.SystemRandom()

    def call(self, call: Callable[[DynamoDBClient], T]) -> T:
        """Make a call; again, later, if it is throttled.

        Raises:
            WriteRefused: a condition did not hold, or a transaction met another.
            GridError: as the grid's errors have it.
        """
        for attempt in self.attempts("be heard, since AWS throttles it"):
            try:
                return call(self._client())
            except ClientError as error:
                if code_of(error) in ("ConditionalCheckFailedException", "TransactionCanceledException"):
                    raise WriteRefused(error) from None
                if not is_throttle(error):
                    raise grid_error(error, self.resource) from error
                self.pause(attempt)
            except BotoCoreError as error:
                raise grid_error(error, self.resource) from error
        raise AssertionError("the attempts end with an error")

    def attempts(self, what: str) -> Iterator[int]:
        """Numbers of attempts, from 0 on.

        Raises:
            GridUnavailable: there were enough.
        """
        yield from range(TRIES)
        raise GridUnavailable(f"{self.resource}: this process could not {what}, {TRIES} times; try again")

    def attempts_at_all(self, left: Sequence[Any], what: str) -> Iterator[int]:
        """Attempts until nothing is left; what was done in part is done by the next one, or the one after."""
        attempts, before = self.attempts(what), len(left)
        attempt = next(attempts)
        while left:
            yield attempt
            attempt = next(attempts) if len(left) >= before else attempt
            before = len(left)

    def pause(self, attempt: int | None) -> None:
        """Wait after an attempt that failed; None is one that did not."""
        if attempt is None:
            return
        self._sleep(self._rng.uniform(0.0, longest_pause(attempt)))

    @property
    def resource(self) -> str:
        """What is called, for people."""
        return f"DynamoDB table {self._name} in {self._client().meta.region_name}"


def longest_pause(attempt: int) -> float:
    """Seconds after an attempt that failed, the first of which is number 0."""
    return min(CAP_SECONDS, BASE_SECONDS * 3.0**attempt)


def pause(seconds: float) -> None:
    """Wait before a call is tried again."""
    time.sleep(seconds)
