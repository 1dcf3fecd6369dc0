"""What an operator returns of a session's results: a manifest, the values themselves, or where they were written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import time
from decimal import Decimal
from functools import partial
from typing import Any

from htcgrid_airflow.nested import changed_within
from htcgrid_airflow.policy import Counts
from htcgrid_airflow.settings import max_inline_bytes
from htcgrid_airflow.storage import remove_file, whole_file
from htcgrid_core import Grid, InvalidInput, NotTabular, Session, result_format_of, results_as_json, write_results
from htcgrid_core.reducers import Reducer
from htcgrid_core.reducers.named import plain, reducer_named

log = logging.getLogger(__name__)

MANIFEST_KEY = "htcgrid_session"  # the XCom under which operators leave the manifest
WORDS = ("none", "manifest", "inline")


def manifest_of(grid: Grid, session: Session, state: str, counts: Counts | None) -> dict[str, Any]:
    """A session in a few hundred bytes, whatever its size."""
    manifest: dict[str, Any] = {"session_id": session.id, "grid": grid.url, "state": state}
    if counts is not None:
        manifest |= {
            "total": counts.total,
            "completed": counts.completed,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        }
    return manifest


def check_result(result: str) -> None:
    """Raise InvalidInput unless it says what to do with results: one of the words, or a path."""
    if result not in WORDS:
        result_format_of(str(result))


def collect(session: Session, result: str, manifest: dict[str, Any], conn_id: str | None = None) -> Any:
    """What goes to XCom.

    Args:
        result: "none": nothing; "manifest": the manifest; "inline": the results as a list, dates and decimals as such,
            with None in the place of a task that failed; or the path or URL of a .jsonl or .parquet file to write them
            to: the manifest, with the file added under ``results``; that is ``PATH.jsonl`` if no table holds the
            results unchanged.
        conn_id: the Airflow connection of the object storage, if the URL does not name it.

    Raises:
        InvalidInput: the results are no JSON, or too large for XCom, or the path cannot be written to.
    """
    if result == "none":
        return None
    if result == "manifest":
        return manifest
    if result == "inline":
        values = results_as_json(session.results(errors="return"), max_inline_bytes(), typed=True)
        return [changed_within(value, partial(_kept_by_xcom, index)) for index, value in enumerate(values)]
    manifest["results"] = _written(session, result, conn_id)
    return manifest


def reducer_of(names: str | Sequence[str] | None, of: str | None) -> Reducer[Any, Any] | None:
    """The reducer that an operator was given by name, if it was.

    Raises:
        InvalidInput: there is none of that name.
    """
    if not names:
        if of is not None:
            raise InvalidInput(f"reduce_of={of!r} belongs to reduce=")
        return None
    return reducer_named(names, of)


def reduced(session: Session, reducer: Reducer[Any, Any]) -> Any:
    """What a session's results come to, as XCom keeps it; without failures that ``max_failures`` tolerates."""
    return changed_within(plain(session.reduce(reducer, errors="skip")), partial(_kept_by_xcom, 0))


def _kept_by_xcom(index: int, value: Any) -> Any:
    """A value that XCom gives back as it is: times of day are texts, since Airflow has none.

    Raises:
        InvalidInput: a decimal with more digits than Airflow keeps, which makes floats of them.
    """
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, Decimal) and not (value.is_finite() and _is_kept(value)):
        raise InvalidInput(
            f"the result of task {index} has the decimal {value}, of which XCom keeps fewer digits: let the function "
            "return text, or write the results to a file"
        )
    return value


def _is_kept(value: Decimal) -> bool:
    """Airflow makes an integer of it if it has no digits after the point, else a float."""
    return int(value.as_tuple().exponent) >= 0 or Decimal(str(float(value))) == value


def _written(session: Session, place: str, conn_id: str | None) -> str:
    """Write the results and return where they are."""
    kind = result_format_of(place)
    try:
        with whole_file(place, conn_id) as file:
            write_results(session.results(errors="return"), file, kind)
        return place
    except NotTabular as error:
        lines = f"{place}.jsonl"
        log.warning("%s is not written, %s is: %s", place, lines, error.reason)
    with whole_file(lines, conn_id) as file:
        write_results(session.results(errors="return"), file, "jsonl")
    remove_file(place, conn_id)  # of an earlier run: it would be taken for what was to replace it
    return lines
