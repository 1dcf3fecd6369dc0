"""The queues of each pool: there, connected to their dead letters, and how much waits in them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.parameter import PoolQueues
from htcgrid_core.adapters.aws.resources.names import PRIORITIES
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.queues import Queue
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning

ANEW = "`htcgrid aws bootstrap NAME --pool POOL` or Terraform makes it"
WORKING = tuple(each for each in PRIORITIES if each != "dead")
COUNTS = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "with agents",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}


@dataclass(frozen=True)
class PoolState:
    """What SQS says of a pool's queues.

    Attributes:
        attributes: by priority; of one that does not exist None.
    """

    pool: str
    urls: PoolQueues
    attributes: dict[str, dict[str, str] | None]

    @classmethod
    def read(cls, clients: Clients, pool: str, urls: PoolQueues) -> PoolState:
        """Ask for each of its queues."""
        quiet = Patience(lambda _: None)
        found = {each: Queue.at(clients, getattr(urls, each), quiet).attributes() for each in PRIORITIES}
        return cls(pool, urls, found)

    def total(self, name: str) -> int:
        """A count of messages, over all queues from which agents take work."""
        return sum(int((self.attributes[each] or {}).get(name, 0)) for each in WORKING)


def queues(pool: PoolState, lease_seconds: float) -> Findings:
    """Whether they are there, and as agents want them."""
    wrong = [*_missing(pool), *_redrive(pool), *_hidden(pool, lease_seconds)]
    yield from wrong
    if not wrong:
        hidden = {str((pool.attributes[each] or {}).get("VisibilityTimeout")) for each in WORKING}
        text = f"pool {pool.pool}: {', '.join(PRIORITIES)} are there; received messages hide for {', '.join(hidden)} s"
        yield ok("queues", text)


def _missing(pool: PoolState) -> Findings:
    for each, found in pool.attributes.items():
        if found is None:
            text = f"queue {getattr(pool.urls, each)}, {each} of pool {pool.pool!r}, does not exist"
            yield problem("queues", text, ANEW)
        elif found.get("FifoQueue") == "true":
            text = f"queue {each} of pool {pool.pool!r} is a FIFO queue"
            yield problem("queues", text, "make it a standard queue: messages of one group would wait for each other")


def _redrive(pool: PoolState) -> Findings:
    dead = (pool.attributes["dead"] or {}).get("QueueArn")
    for each in WORKING:
        found = pool.attributes[each]
        if found is None or dead is None:
            continue
        policy = json.loads(found.get("RedrivePolicy") or "{}")
        if not policy:
            text = f"queue {each} of pool {pool.pool!r} has no redrive policy: what nobody finishes with is never dead"
            yield warning("queues", text, f"let it send to {dead} what was received 100 times")
        elif policy.get("deadLetterTargetArn") != dead:
            text = f"queue {each} of pool {pool.pool!r} sends dead letters to {policy.get('deadLetterTargetArn')}"
            yield problem("queues", f"{text}, where nobody looks for them", f"let it send them to {dead}")


def _hidden(pool: PoolState, lease_seconds: float) -> Findings:
    for each in WORKING:
        seconds = int((pool.attributes[each] or {}).get("VisibilityTimeout", lease_seconds))
        if seconds < lease_seconds:
            text = f"queue {each} of pool {pool.pool!r} hides messages for {seconds} s, a lease is {lease_seconds:g} s"
            yield warning("queues", text, f"set its visibility timeout to {lease_seconds:g} s")


def backlog(pool: PoolState, agents: int | None) -> Findings:
    """How much waits, and whether anybody takes it.

    Args:
        agents: that serve the pool; None if that is not known.
    """
    text = f"pool {pool.pool}: " + ", ".join(f"{pool.total(name):,} {words}" for name, words in COUNTS.items())
    if pool.total("ApproximateNumberOfMessages") and agents == 0:
        advice = f"start agents: htcgrid agent --url URL --pool {pool.pool}; or see why they are not scaled up"
        yield warning("backlog", f"{text}, and no agent serves it", advice)
    else:
        yield ok("backlog", f"{text} messages")


def dead_letters(pool: PoolState) -> Findings:
    """What agents never finished with."""
    dead = pool.attributes["dead"]
    if dead is None:
        return
    count = sum(int(dead.get(name, 0)) for name in COUNTS)
    if count:
        text = f"pool {pool.pool} has {count:,}: received a hundred times, and never finished with"
        advice = "htcgrid dlq list shows them; the reconciler, or htcgrid dlq redrive, sends them again"
        yield warning("dead letters", text, advice)
    else:
        yield ok("dead letters", f"pool {pool.pool} has none")
