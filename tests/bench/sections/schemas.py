"""What checking a million events by their function's schema costs, beside the same submission without, and plain loops.

Nobody runs the tasks: their agents would take the cores from one submission and not from the other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from htcgrid_core import Grid
from htcgrid_core.domain.extent import Extent
from htcgrid_core.gateway.in_process import InProcessGateway
from tests.bench.case import Metrics, Note
from tests.bench.events import WrongResultError
from tests.bench.sizes import Sizes
from tests.planes import StillDeployment, memory_plane

SUBMIT = "grid.submit"
PEERS = ("jsonschema-rs", "pydantic")
SUBJECTS = (SUBMIT, *PEERS)
LEG = {
    "type": "object",
    "properties": {
        "notional": {"type": "number"},
        "rate": {"type": "number"},
        "start": {"type": "string", "format": "date"},
    },
    "required": ["notional", "rate"],
}
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "desk": {"type": "string"}, "legs": {"type": "array", "items": LEG}},
    "required": ["id", "legs"],
}


def trades(count: int) -> Iterator[dict[str, Any]]:
    """Events of about 200 bytes, each an object of its own."""
    for n in range(count):
        legs = [{"notional": 1e6 + n, "rate": 0.01 * leg, "start": "2026-01-02"} for leg in (1, 2)]
        yield {"id": n, "desk": "rates", "legs": legs}


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Seconds of the process's own time, of each extent or of a plain loop."""
    if subject != SUBMIT:
        return {"check_s": _looped(LOOPS[subject](), sizes.million)}
    metrics = {}
    for extent in get_args(Extent):
        note(f"validate={extent}")
        metrics[f"{extent}_s"] = _submitted(extent, sizes.million)
    return {**metrics, "check_s": metrics["all_s"] - metrics["off_s"]}


def _submitted(extent: Extent, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        gateway = InProcessGateway(StillDeployment(memory_plane(Path(folder), database=Path(folder) / "grid.db")))
        package = Path(folder) / "package"
        package.mkdir()
        (package / "app.py").write_text("def handler(event, context): return event\n")
        with Grid(gateway) as grid:
            grid.deploy("priced", package, handler="app.handler", events_schema=SCHEMA)
            began = time.process_time()
            session = grid.submit("priced", trades(count), validate=extent)
            seconds = time.process_time() - began
            if session.progress().total != count:
                raise WrongResultError(f"{session.progress().total} of {count} events were submitted")
    return seconds


def _by_jsonschema_rs() -> Callable[[Any], bool]:
    import jsonschema_rs

    return jsonschema_rs.validator_for(SCHEMA, validate_formats=True).is_valid


def _by_pydantic() -> Callable[[Any], bool]:
    from datetime import date

    from pydantic import BaseModel, TypeAdapter, ValidationError

    class Leg(BaseModel):
        notional: float
        rate: float
        start: date | None = None

    class Trade(BaseModel):
        id: int
        legs: list[Leg]
        desk: str = ""

    validate = TypeAdapter(Trade).validate_python

    def is_valid(event: Any) -> bool:
        try:
            validate(event)
        except ValidationError:
            return False
        return True

    return is_valid


LOOPS = {"jsonschema-rs": _by_jsonschema_rs, "pydantic": _by_pydantic}


def _looped(is_valid: Callable[[Any], bool], count: int) -> float:
    """Of the check alone: what making the events takes is taken off."""
    began = time.process_time()
    made = sum(1 for _ in trades(count))
    making = time.process_time() - began
    began = time.process_time()
    good = sum(map(is_valid, trades(count)))
    seconds = time.process_time() - began
    if (made, good) != (count, count):
        raise WrongResultError(f"{good} of {made} events were good")
    return seconds - making
