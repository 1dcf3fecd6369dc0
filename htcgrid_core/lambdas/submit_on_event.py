"""Events of AWS become sessions, as registered rules say: objects of S3, EventBridge, SQS, Kinesis.

What comes again is the same session: its idempotency token is made of what came. What it may do is in
``submit_on_event.json``; docs/lambdas.md says how it is set up.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.cloud.lambda_function import LambdaContext
from htcgrid_core.domain.errors import GridError, InvalidInput, ObjectNotFound, SessionConflict
from htcgrid_core.domain.place import Place
from htcgrid_core.domain.rule import Rule
from htcgrid_core.lambdas.messages import QueueMessage, partial_batch
from htcgrid_core.lambdas.occurrences import Brought, ObjectVersion, Occurrence, in_event, in_message, inside
from htcgrid_core.lambdas.served import Served, served
from htcgrid_core.lambdas.vectors import vector

_log = logging.getLogger(__name__)


def handler(event: Mapping[str, Any], context: LambdaContext | None) -> dict[str, Any]:
    """Submit a session for each rule that takes what happened; of messages, say which are to come again.

    Events that no rule takes are noted in the log; messages and records that none takes are refused, since they would
    be lost.

    Raises:
        InvalidInput: an event cannot become what its rule says.
        GridUnavailable, AccessDenied: the grid cannot be used; all comes again.
        SessionConflict: the session was begun by what a rule said before, and is not whole; all comes again.
        In any case what other rules say was submitted all the same.
    """
    here = served()
    rules, places = here.cloud.registry.rules(), here.cloud.registry.places()
    if _is_of_queue(event):
        return partial_batch(event, context, lambda message: _of_message(here, rules, places, message))
    found = in_event(event)
    if found and not any(occurrence.is_of(rule) for rule in rules for occurrence in found):
        _log.warning("no rule takes this event: %s", _named(event))
        if "detail-type" not in event and event["Records"][0].get("eventSource") == "aws:kinesis":
            raise InvalidInput(f"no rule takes records of {_named(event)}")
    sessions = submitted(here, rules, places, found)
    return {"sessions": sessions}


def submitted(
    here: Served, rules: Sequence[Rule], places: Sequence[Place], found: Iterable[Occurrence]
) -> list[dict[str, str]]:
    """The sessions that occurrences become: one for each rule that takes one.

    Raises:
        GridError: the first of those that kept rules from their sessions, once all others have theirs.
    """
    sessions, failed = list[dict[str, str]](), list[GridError]()
    for occurrence in found:
        for rule in _takers(rules, places, occurrence):
            try:
                session = _submit(here, rule, occurrence)
            except GridError as error:
                _log.error(
                    "a rule has no session of what came: %s: %s", type(error).__name__, error,
                    extra={"rule": rule.rule, "identity": occurrence.identity},
                )  # fmt: skip
                failed.append(error)
            else:
                sessions += [{"rule": rule.rule, "session": session}] if session else []
    if failed:
        raise failed[0]
    return sessions


def _takers(rules: Iterable[Rule], places: Iterable[Place], occurrence: Occurrence) -> list[Rule]:
    """The rules that make a session of an occurrence."""
    mine = [rule for rule in rules if occurrence.is_of(rule)]
    if mine and isinstance(occurrence, ObjectVersion):
        if occurrence.uri.is_prefix:
            return []  # a folder that a console made
        if any(place.use == "results" and occurrence.uri.is_below(place.uri) for place in places):
            _log.error("%s is a result: it starts no session", occurrence.uri)
            return []
    return mine


def _submit(here: Served, rule: Rule, occurrence: Occurrence) -> str:
    """Submit, or find what was submitted when it came before; empty if there is nothing to submit any more."""
    token = f"rule {rule.rule} {hashlib.sha256(occurrence.identity.encode()).hexdigest()}"
    told = {"rule": rule.rule, "identity": occurrence.identity}
    asked = {**rule.arguments(), "labels": {"rule": rule.rule, **rule.labels}}
    try:
        session = here.grid.submit(
            rule.function, _events(here, rule, occurrence), token=token, tenant=rule.tenant, notify=rule.notify, **asked
        )
    except SessionConflict:
        plane = here.cloud.plane
        before = plane.store.session(session_id_of(token, rule.tenant), plane.clock.now())
        if not before.acknowledged:
            raise  # under way, or dead: it comes again when that is whole, or was aborted and can begin anew
        _log.info("it was submitted before, by what the rule said then", extra=told)
        return before.session_id
    except ObjectNotFound as error:
        _log.warning("nothing is submitted: %s", error, extra=told)
        return ""
    _log.info("it is session %s", session.id, extra=told)
    return session.id


def _events(here: Served, rule: Rule, occurrence: Occurrence) -> Iterable[Any]:
    if isinstance(occurrence, Brought):
        return occurrence.vector(rule)
    if rule.about == "object":
        return [occurrence.told()]
    etag = f'"{occurrence.etag}"' if occurrence.etag and not occurrence.version_id else ""
    return vector(here.cloud.objects, occurrence.uri, rule.format, version_id=occurrence.version_id, etag=etag)


def _of_message(here: Served, rules: Sequence[Rule], places: Sequence[Place], message: QueueMessage) -> None:
    """Submit what a message says, or what S3, EventBridge or a topic said through its queue."""
    is_mine = any(rule.source == message.queue for rule in rules)
    found: Sequence[Occurrence] = [in_message(message)] if is_mine else inside(message)
    if found and not any(occurrence.is_of(rule) for rule in rules for occurrence in found):
        raise InvalidInput(f"no rule takes message {message.id} of {message.queue}, nor what it tells of")
    submitted(here, rules, places, found)


def _is_of_queue(event: Mapping[str, Any]) -> bool:
    records = event.get("Records")
    return bool(records) and isinstance(records, list) and records[0].get("eventSource") == "aws:sqs"


def _named(event: Mapping[str, Any]) -> str:
    """What brought it, for people."""
    if "detail-type" in event:
        return f"{event.get('source')}/{event['detail-type']}"
    record = event["Records"][0] if event.get("Records") else {}
    return str(
        record.get("eventSourceARN")
        or record.get("EventSubscriptionArn")
        or record.get("s3", {}).get("bucket", {}).get("name", "unknown")
    )
