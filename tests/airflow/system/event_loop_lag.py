"""What a triggerer's event loop was doing whenever it was late.

Airflow warns when its loop stood still for 0.2 s, and cannot say why. A loop that computes or waits inside a trigger is
at fault; one whose thread got no CPU time on a busy machine is not.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from airflow.jobs.triggerer_job_runner import TriggerRunner

LATE_SECONDS = 0.2  # as Airflow's own warning
BEAT_SECONDS = 0.02
OURS = "/htcgrid_"


@dataclass(frozen=True)
class Late:
    """One stretch in which the loop did not go on: how long, what of it its thread computed, and where it was seen."""

    seconds: float
    cpu_seconds: float
    where: str

    @property
    def ours(self) -> bool:
        """Whether it was in our code, or in what our code had called."""
        return OURS in self.where


class Watch:
    """Notes each such stretch of the loop that it is made in."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._loop_thread = threading.get_ident()
        self._beat = (time.monotonic(), time.thread_time())

    async def beat(self) -> None:
        """The loop's sign of life, as a task of it."""
        while True:
            self._beat = (time.monotonic(), time.thread_time())
            await asyncio.sleep(BEAT_SECONDS)

    def look(self) -> None:
        """Look for it, in another thread."""
        while True:
            time.sleep(BEAT_SECONDS)
            before = self._beat
            if time.monotonic() - before[0] > LATE_SECONDS:
                where = place_of(sys._current_frames().get(self._loop_thread))
                while self._beat == before:
                    time.sleep(BEAT_SECONDS)
                at, cpu = self._beat
                with self._notes.open("a") as file:
                    late = Late(round(at - before[0] - BEAT_SECONDS, 3), round(cpu - before[1], 3), where)
                    file.write(json.dumps(asdict(late)) + "\n")


def place_of(frame: FrameType | None) -> str:
    """The innermost line of our code, or else the innermost of all."""
    frames: list[str] = []
    while frame is not None:
        frames.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return next((place for place in frames if OURS in place), frames[0] if frames else "")


def noted_in(notes: Path) -> None:
    """Have the loop of the triggerer watched that this process is about to become, or to fork."""
    real = TriggerRunner.arun

    async def arun(self: TriggerRunner) -> None:
        watch = Watch(notes)
        threading.Thread(target=watch.look, daemon=True).start()
        beating = asyncio.create_task(watch.beat())
        try:
            await real(self)  # type: ignore[no-untyped-call] # Airflow's
        finally:
            beating.cancel()

    TriggerRunner.arun = arun  # type: ignore[method-assign] # so that it is seen from inside


def read(notes: Path) -> list[Late]:
    """What was noted."""
    return [Late(**json.loads(line)) for line in notes.read_text().splitlines()] if notes.exists() else []


def told(stretches: list[Late]) -> str:
    """In one line."""
    if not stretches:
        return "never"
    seconds, cpu = sum(late.seconds for late in stretches), sum(late.cpu_seconds for late in stretches)
    ours = sorted({late.where for late in stretches if late.ours})
    where = f"in our code at {', '.join(ours)}" if ours else "never in our code"
    return f"{len(stretches)} times, {seconds:.2f} s, of which its thread computed {cpu:.2f} s; {where}"
