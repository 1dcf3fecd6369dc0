"""The grid: its version, its agents and load, and destinations of what it tells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from htcgrid_core.api.models.fields import Count, Limit, Model, Query, whole
from htcgrid_core.domain.destination import MARKS


class Version(Model):
    """The server's release, and the API's version."""

    version: str
    api: Literal["v1"] = "v1"


class Link(Model):
    """A link to what a session belongs to: ``{NAME}`` in the template is the value of the session's label NAME.

    ``{session.id}`` is its id. A session that lacks one of them has no such link.
    """

    name: str
    template: str


class GridInfo(Model):
    """What is to be known before a submit.

    Attributes:
        agents: among which a session submitted now would be shared.
        tenant: whose a session is that names none; null if it must name one.
        scopes: what whoever asks may do.
        same_machine: whether whoever asks has shown that its Python is where workers run: see ``Htcgrid-Machine``.
        direct_parts: whether parts of an upload may be put into the grid's storage by URLs.
        request_bytes: the largest body that any request may have.
        dead_letters: whether its queues give up what nobody ever finished with.
        links: to what sessions belong to, as the operator has set them.
    """

    pools: list[str]
    agents: Count
    tenant: str | None
    scopes: list[str]
    same_machine: bool
    direct_parts: bool
    request_bytes: Count
    dead_letters: bool
    links: list[Link]


class RunningTask(Model):
    """A task that an agent was running when it last spoke.

    Attributes:
        attempt: 0 where the agent does not tell.
        slot: from 0; those that are lent while tasks wait for others come behind the agent's own. Null where it does
            not tell.
        memory_bytes: resident, of the slot's worker and its child processes; null where nobody says.
    """

    session: str
    index: Count
    attempt: Count
    started_at: float
    slot: Count | None
    memory_bytes: Count | None


class Agent(Model):
    """What an agent that is alive last said of itself.

    Attributes:
        running: its tasks that have begun, of tenants of whoever asks; null if it does not tell.
        started_at: since when it runs; null if it does not tell, as agents of earlier releases.
        memory_bytes: resident, of it and its workers together; null where nobody says.
        memory_limit_bytes: that these may have, of their container or of the machine; null where nobody says.
    """

    agent: str
    pool: str
    host: str
    slots: Count
    busy: Count
    beat_at: float
    problem: str
    running: list[RunningTask] | None
    started_at: float | None
    memory_bytes: Count | None
    memory_limit_bytes: Count | None


class Agents(Model):
    """All that are alive."""

    agents: list[Agent]


class PoolLoad(Model):
    """The load of one pool, as a scaler reads it (KEDA's metrics-api): flat numbers, leased work counted too."""

    pool: str
    sessions: Count
    tasks: Count
    work_seconds: float
    slots_wanted: Count
    agents: Count
    slots: Count
    busy: Count


class Load(Model):
    """The grid's load, and that of each pool."""

    sessions: dict[str, Count]
    pending: Count
    agents: Count
    slots: Count
    busy: Count
    pools: list[PoolLoad]


class DeadLettersQuery(Query):
    """How many at most."""

    limit: Limit = 100


class DeadLetter(Model):
    """A message that agents received again and again and never finished with.

    Attributes:
        session, bundle: null if it is not one of the grid's.
        sent_again: how often the reconciler has sent it before.
    """

    pool: str
    session: str | None
    bundle: str | None
    sent_again: Count
    sent_at: float


class DeadLetters(Model):
    """Those of tenants of whoever asks, in no order."""

    letters: list[DeadLetter]


class NewDestination(Model):
    """Where ends of sessions are to be told.

    Attributes:
        target: an ARN of SQS, SNS or an event bus, or an https address.
        secret: with which a webhook's messages are signed (``whsec_`` and base64); it is never told again.
        may_be_private: whether a webhook's address may be one of a private network.
        progress: at which shares of a session's tasks it is told too, in percent, ascending.
    """

    target: str = Field(min_length=1, max_length=2048)
    secret: str = Field(default="", max_length=512, repr=False)
    may_be_private: bool = False
    progress: list[Annotated[int, Field(ge=1, le=99), BeforeValidator(whole)]] = Field(
        default_factory=list, max_length=MARKS
    )


class Destination(Model):
    """Where ends of sessions are told; ``disabled`` says why it gets nothing any more."""

    name: str
    target: str
    disabled: str
    may_be_private: bool
    progress: list[int]


class Destinations(Model):
    """By name."""

    destinations: list[Destination]
