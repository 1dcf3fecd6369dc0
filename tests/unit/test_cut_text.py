"""The end of a text, cut at any byte, has whole characters only: so that what came since is found in it."""

from __future__ import annotations

import os

import pytest

from htcgrid_core.agent.workers.captured_output import capture_file, last_of
from htcgrid_core.cli.logs import new_part
from htcgrid_core.codecs.cut_text import end_of
from htcgrid_core.codecs.failed_attempts import FailedAttempts, unpacked
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.limits import ATTEMPT_TEXT_BYTES
from htcgrid_core.domain.outcome import TaskError

TEXT = "a\u00e9\u2588\U0001f600" * 3


@pytest.mark.parametrize("count", range(len(TEXT.encode()) + 2))
def test_whole_characters(count: int) -> None:
    data = TEXT.encode()
    found = end_of(data, count)
    assert TEXT.endswith(found)
    assert count - 3 <= len(found.encode()) <= count or found == TEXT
    assert TEXT.startswith(end_of(data[:count], len(data)))


def test_bytes_that_are_no_text_are_kept_as_such() -> None:
    assert end_of(b"\x80\x80a", 9) == "\ufffd\ufffda"
    assert len(end_of(b"\x80" * 99, 50)) == 47


@pytest.mark.parametrize("shift", range(3))
def test_a_progress_bar_is_followed(shift: int) -> None:
    """Of bars in blocks of three bytes each, one of three cuts is between characters."""
    fd = capture_file()
    os.write(fd, b"-" * shift + "\u2588".encode() * ATTEMPT_TEXT_BYTES)
    before = last_of(fd)
    os.write(fd, b" 50% \xe2\x96")  # half a character
    now = last_of(fd)
    assert "\ufffd" not in before + now
    assert new_part(before, now) == " 50% "
    os.write(fd, b"\x88")
    assert new_part(now, last_of(fd)) == "\u2588"
    os.close(fd)


def test_so_in_what_a_failed_attempt_said() -> None:
    attempts = FailedAttempts()
    text = "\u2588" * ATTEMPT_TEXT_BYTES
    attempts.add(
        Outcome(0, True, 1, 1.0, 1.0, b"", text, text + "-"), TaskError("ValueError", "no", text + "--"), "a-1"
    )
    packed = attempts.packed()
    assert packed is not None
    task = unpacked(packed)[0]
    assert task.error is not None
    assert "\ufffd" not in task.stdout + task.stderr + task.error.traceback
    assert task.agent == "a-1"
