"""The raw form: frames, rows without what is the grid's alone, and outcomes in order with their gaps."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from htcgrid_core.api import views
from htcgrid_core.client.progress import progress_of
from htcgrid_core.codecs import wire
from htcgrid_core.codecs.events import SharingEvent
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.function import Environment, FunctionSpec, Package
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec


def _outcome(index: int, payload: bytes = b"1") -> Outcome:
    return Outcome(index, index % 2 == 1, 1, 1.5, 0.25, payload, "out" if index == 3 else "", "")


def test_frames_that_come_byte_by_byte() -> None:
    whole = wire.framed(wire.HEAD, b"{}") + wire.framed(wire.END, b"")
    unframer = wire.Unframer()
    found = [frame for at in range(len(whole)) for frame in unframer.feed(whole[at : at + 1])]
    assert found == [(wire.HEAD, b"{}"), (wire.END, b"")] == wire.unframed(whole)
    with pytest.raises(CorruptPayload):
        wire.unframed(whole[:-1])


def test_a_row_tells_nothing_of_the_grid() -> None:
    package = Package(function="f", version=1, handler="a.b", runtime="python3.11", variables={"DB": "canary-value"})
    where = Environment(python="/canary/python", path=("/canary",), cwd="/canary")
    function = FunctionSpec(name="f:1", blob="packages/canary", environment=where, package=package)
    spec = SessionSpec(function=function, labels={"desk": "rates"}, bundle_size=3)
    record = SessionRecord("s-1234", SessionState.RUNNING, spec.text, "n", Counters(total=3), 1.0, 2.0, digest="canary")
    row = orjson.loads(orjson.dumps(wire.row_of(record)))
    assert "canary" not in repr(row)
    again = wire.record_of(row)
    assert (again.state, again.counters, again.labels) == (record.state, record.counters, {"desk": "rates"})
    assert again.parsed_spec().function.name == "f:1"


@pytest.mark.parametrize("gaps", [(), (0,), (4, 5), (9,), tuple(range(10))])
@pytest.mark.parametrize("rows_a_frame", [1, 3, 100])
def test_outcomes_in_order(gaps: tuple[int, ...], rows_a_frame: int) -> None:
    """Those of a resubmitted session have other indexes of their own: the vector's count."""

    def found() -> Iterator[tuple[int, Outcome | None]]:
        for index in range(10):
            yield index, None if index in gaps else _outcome(index + (100 if index == 2 else 0))

    made = list(wire.framed_ordered(found(), rows_a_frame))
    frames = wire.unframed(b"".join(frame for frame, _ in made))
    assert [behind for _, behind in made] == [*range(rows_a_frame, 10, rows_a_frame), 10]
    back = [one for frame in frames for one in wire.ordered_of(frame.body)]
    assert [index for index, _ in back] == list(range(10))
    assert [index for index, one in back if one is None] == list(gaps)
    assert all(one.index == index for index, one in back if one is not None)
    assert all(one.stdout == "out" for index, one in back if index == 3 and one is not None)


def test_ordered_frames_are_bounded() -> None:
    large = [(index, _outcome(index, b"x" * 1000)) for index in range(10)]
    assert [behind for _, behind in wire.framed_ordered(large, frame_bytes=2400)] == [2, 4, 6, 8, 10]


def test_pages_and_tasks_without_an_outcome() -> None:
    rows = Outcomes()
    rows.append(_outcome(3))
    open_task = TaskOutcome(4, TaskState.RUNNING, attempts=1, agent="a-1")
    sent = wire.framed_page(TaskPage(7, "agent", rows)) + wire.framed_tasks([open_task])
    read = wire.Tasks()
    page, task = (one for frame in wire.unframed(sent) for one in read.of(frame))
    assert isinstance(page, TaskPage)
    assert (page.cursor, page.agent, [one.index for one in page.outcomes]) == (7, "agent", [3])
    assert task == open_task


def test_events_with_shared_inputs() -> None:
    body = wire.packed_events([b"1", SharingEvent(b"{}", ("d.json",))])
    assert wire.unpacked_events(body) == ([b"1", b"{}"], ("d.json",))


@pytest.mark.parametrize(
    ("state", "counted", "told"),
    [
        (SessionState.RUNNING, 2, 2),
        (SessionState.RUNNING, 5, 3),  # agents from before it was counted leave it too high, or too low
        (SessionState.RUNNING, -1, 0),
        (SessionState.CANCELLING, 2, 0),  # where nothing runs again
        (SessionState.CANCELLED, 2, 0),
    ],
)
def test_how_many_tasks_run_again_is_told(state: SessionState, counted: int, told: int) -> None:
    spec = SessionSpec(function=FunctionSpec(name="f"))
    counters = Counters(total=4, completed=1, retrying=counted)
    record = SessionRecord("s-1234", state, spec.text, "n", counters, 1.0, 2.0)
    assert (views.session(record).retrying, progress_of(record).retrying) == (told, told)
