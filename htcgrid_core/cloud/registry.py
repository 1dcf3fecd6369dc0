"""What operators register for events that come in: places and rules, none of which feeds itself."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from htcgrid_core.adapters.aws.dynamodb.registry import DynamoRegistry
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.place import Place
from htcgrid_core.domain.rule import Rule
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.domain.session_event import SOURCE
from htcgrid_core.domain.stored import Stored
from htcgrid_core.services import audit

S = TypeVar("S", bound=Stored)


def made(kind: type[S], **values: Any) -> S:
    """A model of what an operator typed.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"nothing was registered: {wrong}") from None


def add_place(cloud: CloudPlane, place: Place) -> None:
    """List a place.

    Raises:
        InvalidInput: it is in the grid's own bucket, or results written there would start sessions.
    """
    _check_bucket(cloud, place.uri)
    for rule in cloud.registry.rules():
        if place.use == "results" and rule.kind == "s3" and place.uri.overlaps(rule.prefix):
            raise InvalidInput(_feeds_itself(place, rule))
    note(cloud, "put-place", f"{place.prefix} for {place.use} of tenant {place.tenant}")
    cloud.registry.put_place(place)


def remove_place(cloud: CloudPlane, place: Place) -> bool:
    """Forget a place; False if there is none."""
    note(cloud, "remove-place", f"{place.prefix} for {place.use} of tenant {place.tenant}")
    return cloud.registry.remove_place(place)


def note(cloud: CloudPlane, event: str, detail: str) -> None:
    """Add to the audit what this process is about to do."""
    audit.note(cloud.plane, cloud.plane.actor(), event, detail)


def add_rule(cloud: CloudPlane, rule: Rule) -> None:
    """Register a rule, in the place of one with the same name.

    Raises:
        InvalidInput: what it asks for cannot be had, or its sessions would start further ones; or the one before is
            another tenant's.
    """
    rule.check()
    for before in cloud.registry.rules():
        if before.rule == rule.rule and before.tenant != rule.tenant:  # tokens are a tenant's own
            raise InvalidInput(
                f"rule {rule.rule} is tenant {before.tenant}'s: what came before would be submitted again for tenant "
                f"{rule.tenant} when it comes again; add a rule of another name, and remove this one"
            )
    _check_options(rule)
    if rule.pool not in cloud.parameter.queues:
        raise InvalidInput(f"rule {rule.rule}: this grid has no pool {rule.pool!r}")
    if rule.kind == "s3":
        _check_bucket(cloud, rule.prefix)
        for place in cloud.registry.places():
            if place.use == "results" and place.uri.overlaps(rule.prefix):
                raise InvalidInput(_feeds_itself(place, rule))
    if rule.kind == "sqs" and rule.source.rpartition(":")[2] in _own_queues(cloud):
        raise InvalidInput(f"rule {rule.rule}: {rule.source} is a queue of the grid's own")
    for name in rule.notify:
        destination = cloud.plane.outbox.destination(name)
        if destination is None:
            raise InvalidInput(f"rule {rule.rule}: destination {name!r} is not registered on this grid")
        _check_told(rule, destination)
    note(cloud, "put-rule", f"{rule.rule}: {rule.function} for tenant {rule.tenant}, from {rule.source}")
    cloud.registry.put_rule(rule)


def remove_rule(cloud: CloudPlane, name: str) -> bool:
    """Forget a rule; False if there is none."""
    note(cloud, "remove-rule", name)
    return cloud.registry.remove_rule(name)


def check_rules_tell(registry: DynamoRegistry, destination: Destination) -> None:
    """Whether rules may tell a destination that is registered, perhaps in the place of one with the same name.

    Raises:
        InvalidInput: what it is told would start sessions of a rule that tells it.
    """
    for rule in registry.rules():
        if destination.name in rule.notify:
            _check_told(rule, destination)


def _check_told(rule: Rule, destination: Destination) -> None:
    to_itself = rule.kind == "events" and rule.events.source == SOURCE and destination.kind == "events"
    if destination.target == rule.source or to_itself:
        raise InvalidInput(
            f"rule {rule.rule}: what destination {destination.name!r} is told would start its sessions again"
        )


def _check_options(rule: Rule) -> None:
    asked = rule.arguments()
    del asked["validate"]  # which is no part of a session
    for name in ("task_timeout", "timeout", "retention"):
        asked[f"{name}_seconds"] = asked.pop(name)
    if asked["retention_seconds"] is None:
        del asked["retention_seconds"]
    made(SessionSpec, function=FunctionSpec(name=rule.function), tenant=rule.tenant, **asked)


def _check_bucket(cloud: CloudPlane, uri: S3Uri) -> None:
    if uri.bucket == cloud.parameter.bucket:
        raise InvalidInput(f"{uri} is in the grid's own bucket: name another one")


def _own_queues(cloud: CloudPlane) -> set[str]:
    urls = [url for pool in cloud.parameter.queues.values() for url in (pool.high, pool.normal, pool.low, pool.dead)]
    return {url.rpartition("/")[2] for url in urls}


def _feeds_itself(place: Place, rule: Rule) -> str:
    return f"results written to {place.prefix} would start sessions by rule {rule.rule}, whose source is {rule.source}"
