"""Items of the table to and from the domain's classes. docs/adr/0012-dynamodb-items.md shows them.

Attributes have short names, since every kilobyte of an item is paid for at each write.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.item_payloads import deflated, inflated, payload_attributes, payload_of
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.schema import BY_TIME_KEY, EXPIRES_AT, LIVE_KEY, TTL
from htcgrid_core.domain.audit import actor_and_address
from htcgrid_core.domain.bundle import Block, Bundle, Child, root_of
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Counters, SessionRecord, unreadable
from htcgrid_core.domain.spent import Usage
from htcgrid_core.ports.session_store import AuditEntry, OutcomePage

FAILED = "!"  # in a log of pages, behind the id of a bundle with failed tasks
ENDED_SLACK_SECONDS = 7 * 86400.0  # an ended session's row waits so long for whoever deletes its blobs
# What most specs have in common. Part of the format: what was deflated with it can be read with another only if that
# ends with it, since references count from the end.
_SPEC_DICTIONARY = (
    b'"tenant":"default","traceparent":"","tracestate":""}'
    b'{"function":{"name":"module.handler","blob":null,"call":"handler","environment":null,"package":null},'
    b'"codec":"json","name":"","task_timeout_seconds":null,"timeout_seconds":null,"retry":{"max_attempts":3,'
    b'"backoff_base_seconds":1.0,"backoff_cap_seconds":60.0,"never_retry":[]},"max_failures":null,"memory_mb":null,'
    b'"priority":"normal","pool":"default","labels":{},"parent_id":null,"retention_seconds":604800.0,'
    b'"bundle_size":null,"agents":1}'
)


# Sessions

COUNTED = ("nc", "bo", "no")  # commits, bytes of their outcomes, and objects of these: of rows, or of their lanes
_COUNTS = ("lanes", "tot", "w", "pend", "ok", "bad", "re", "can", "ack", "tol", "cut", "bi", *COUNTED)
_TIMES = ("sec", "at", "upd", "ret", "dead", "end", EXPIRES_AT)
_TEXTS = ("gen", "st", "pool", "nm", "dig", "why", "own", "ending", "fo", "hs", "held")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_COUNTS, (int,)), **dict.fromkeys(_TIMES, (int, float)), **dict.fromkeys(_TEXTS, (str,)),
    "spec": (bytes,), "hist": (list,), "log": (list,),
}  # fmt: skip
_ALWAYS = ("gen", "lanes", "st", "pool", "at", "upd", "ret", "spec", "tot", "w", "hist")
_STATES = frozenset(SessionState)
DAMAGE = "damage"
HOLD_STEP = "hs"  # how far a hold or its release is; of a session that is held, "held" has the reason


def readable(session_id: str, item: Item) -> Item:
    """A session's row, or, in place of one that cannot be read, one that says so and is FAILED."""
    why = _damage(item)
    if not why:
        return item
    record = unreadable(session_id, why, item.get("at"))
    return {
        "gen": "", "lanes": 1, "st": record.state, "pool": record.pool, "at": record.submitted_at,
        "upd": record.updated_at, "ret": record.retention_seconds, "spec": deflated(b""), "tot": 0, "w": 0, "hist": [],
        "why": record.reason, DAMAGE: record.damage,
    }  # fmt: skip


def _damage(item: Item) -> str:
    """Why a session's row cannot be read; empty if it can."""
    for name in _ALWAYS:
        if name not in item:
            return f"its attribute {name} is missing"
    for name, value in item.items():
        if name in _KINDS and not isinstance(value, _KINDS[name]):
            return f"its attribute {name} is a {type(value).__name__}"
    if item["st"] not in _STATES:
        return f"{item['st']!r} is not a state that this version of htcgrid knows"
    if item["lanes"] < 1:
        return "it has no lanes"
    try:
        inflated(item["spec"], _SPEC_DICTIONARY).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        return f"what it asks for is damaged ({error})"
    return ""


def new_session(record: SessionRecord, generation: str, lanes: int) -> Item:
    """The row of a session that is being submitted, or of one that is whole."""
    item = {
        "gen": generation, "lanes": lanes, "st": record.state, LIVE_KEY: "L", BY_TIME_KEY: "S",
        "at": record.submitted_at, "upd": record.updated_at, "dead": record.deadline_at,
        "spec": deflated(record.spec.encode(), _SPEC_DICTIONARY), "nm": record.name or None, "pool": record.pool,
        "ret": record.retention_seconds, "tot": record.counters.total, "pend": record.counters.total, "ok": 0, "bad": 0,
        "ack": record.bundles if record.acknowledged else None, "w": max(0, record.bundles),
        "dig": record.digest or None, "tol": record.tolerated, "bi": record.usage.input_bytes or None,
        "fo": record.folder or None,
    }  # fmt: skip
    return {name: value for name, value in item.items() if value is not None}


def place_of(session_id: str, item: Item) -> Place:
    """From a session's row."""
    return Place(session_id, item["gen"], item["lanes"], float(item["ret"]))


def is_sealing(item: Item) -> bool:
    """Whether the session's end is decided and being written."""
    return "ending" in item


def record_of(session_id: str, item: Item, lanes: Sequence[Item]) -> SessionRecord:
    """From a session's row and, while it is live, the counters of its lanes."""
    state = SessionState(item["st"])
    if any(
        not isinstance(part.get(name, 0), int | float)
        for part in lanes
        for name in ("ok", "bad", "re", "sec", "upd", *COUNTED)
    ):
        return unreadable(session_id, "the counters of one of its lanes are no numbers", item["at"])
    ended = SESSION.is_terminal(state)
    parts = [item] if ended or item["lanes"] == 1 else [item, *lanes]
    completed, failed, retrying, seconds = (
        sum(part.get(name, 0) for part in parts) for name in ("ok", "bad", "re", "sec")
    )
    commits, output_bytes, output_blobs = (sum(part.get(name, 0) for part in parts) for name in COUNTED)
    return SessionRecord(
        session_id=session_id,
        state=state,
        spec=inflated(item["spec"], _SPEC_DICTIONARY).decode(),
        name=item.get("nm", ""),
        counters=Counters(item["tot"], completed, failed, item.get("can", 0), float(seconds), retrying),
        submitted_at=float(item["at"]),
        updated_at=max(float(part.get("upd", 0)) for part in parts),
        ended_at=_float(item.get("end")),
        deadline_at=_float(item.get("dead")),
        expires_at=_float(item.get("exp")),
        tolerated=item.get("tol"),
        bundles=item.get("ack", -1),
        digest=item.get("dig", ""),
        reason=item.get("why", ""),
        owner=item.get("own", ""),
        pool=item["pool"],
        retention_seconds=float(item["ret"]),
        damage=item.get(DAMAGE, ""),
        generation=item["gen"] if item["lanes"] == 1 else "",
        usage=Usage(commits, item.get("bi", 0), output_bytes, output_blobs),
        folder=item.get("fo", ""),
        held=item.get("held", ""),
    )


def audit_text(at: float, actor: str, event: str, before: str, after: str, detail: str = "") -> str:
    """One line of a session's history."""
    return json.dumps([at, actor, event, before, after, detail], separators=(",", ":"))


def audit_of(session_id: str, text: str) -> AuditEntry:
    """The line, read."""
    at, told, event, before, after, detail = json.loads(text)
    actor, address = actor_and_address(told)
    return AuditEntry(at, session_id, actor, event, before, after, detail, address)


# Blocks and bundles


def new_block(bundle: Bundle, block: Block, ttl: int) -> Item:
    """A root bundle and its events."""
    what = {"fi": block.first_index, "n": block.count, "crc": block.checksum, "rk": bundle.rank, TTL: ttl}
    return {**what, **payload_attributes(block.payload)}


def same_block(item: Item, block: Block) -> bool:
    """Whether an item holds just this block."""
    known = (item["fi"], item["n"], item["crc"], item["sz"])
    return known == (block.first_index, block.count, block.checksum, block.payload.size)


def block_of(item: Item, *, events: bool = True) -> Block:
    """From a root's item."""
    payload = payload_of(item) if events or "k" in item else Payload(b"", None, item["sz"])
    return Block(int(item["sk"][2:]), item["fi"], item["n"], payload)


def bundle_of(place: Place, bundle_id: str, item: Item, block: Item) -> Bundle:
    """From a bundle's item (empty for a root that was never claimed) and its root's."""
    root = root_of(bundle_id)
    if "ix" not in item:
        indexes: Sequence[int] = range(block["fi"], block["fi"] + block["n"])
        return Bundle(place.session_id, bundle_id, root, indexes, {}, item.get("c", 0), 0.0, float(block["rk"]))
    tasks = json.loads(inflated(item["ix"]))
    return Bundle(
        session_id=place.session_id,
        bundle_id=bundle_id,
        root=root,
        indexes=tuple(tasks[0]),
        failures=dict(tasks[1]),
        crashes=item.get("c", 0),
        not_before=float(item.get("nb", 0.0)),
        rank=float(item["rk"]),
        failed_in=tasks[2] if len(tasks) > 2 else "",
        pool=item.get("pl", ""),
    )


def new_child(child: Child, ttl: int) -> Item:
    """A bundle that a commit creates, ready or leased."""
    bundle, lease = child.bundle, child.lease
    parts = [list(bundle.indexes), list(bundle.failures.items()), *([bundle.failed_in] if bundle.failed_in else [])]
    tasks = json.dumps(parts, separators=(",", ":"))
    item: Item = {"ix": deflated(tasks.encode()), "rk": bundle.rank, TTL: ttl}
    if bundle.crashes:
        item["c"] = bundle.crashes
    if bundle.not_before:
        item["nb"] = bundle.not_before
    if bundle.pool:
        item["pl"] = bundle.pool
    if lease is not None:
        item |= {"t": lease.token, "o": lease.owner, "u": lease.until, "e": lease.epoch}
    return item


def children_text(bundle_ids: Sequence[str]) -> str:
    """The children of a bundle, as its item names them: all have the bundle's root."""
    return ",".join(bundle_id.partition(".")[2] for bundle_id in bundle_ids)


def children_of(item: Item) -> list[str]:
    """The ids of the children that a done bundle's item names."""
    root = item["sk"][2:10]
    return [f"{root}.{name}" for name in item["kids"].split(",")] if "kids" in item else []


def lease_of(item: Item) -> Lease | None:
    """Who has a bundle that is not done."""
    return Lease(item["e"], item["t"], float(item["u"]), item["o"]) if "t" in item else None


def log_entry(bundle_id: str, failed: int) -> str:
    """What a commit appends to its lane's log."""
    return bundle_id + FAILED if failed else bundle_id


def page_of(item: Item, cursor: int) -> OutcomePage:
    """The outcomes that a bundle was done with."""
    bundle_id = item["sk"][2:]
    return OutcomePage(
        cursor, root_of(bundle_id), bundle_id, item["e"], item["o"], payload_of(item), item["ok"], item.get("bad", 0)
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
