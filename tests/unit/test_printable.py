"""What comes from a session is shown, and does nothing: neither to a terminal nor to a CI system that reads the log."""

from __future__ import annotations

import io
import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core import SessionFailed, TaskError, TaskFailed
from htcgrid_core.cli.output import add_row, json_bytes, table
from htcgrid_core.client.progress_bar import _summary
from htcgrid_core.cloud.logs import configure
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.printable import json_printable, printable, printable_line
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.local.logs import PrintableFormatter

anything = st.text(st.characters(codec=None), max_size=200)
COMMANDS = [
    "::set-output name=x::y", "  ::error::x", "\t::group::x", "##[error]x", "a ##[section]x", "##vso[task.complete]",
    "##teamcity[message]", "section_start:0:x\r\x1b[0K", "\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\bb",
    "\u202egnp.exe", "a\u2028::error::x", "\x7f", "\ud800",
]  # fmt: skip


def harmless(text: str) -> bool:
    """Whether nothing in it is more than text and ends of lines."""
    lines = text.split("\n")
    return not any(
        any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") and letter != "\t" for letter in line)
        or line.lstrip().startswith("::")
        or "##[" in line
        or "##vso[" in line
        or "##teamcity[" in line
        for line in lines
    )


class TestText:
    @given(anything)
    def test_whatever_it_is(self, text: str) -> None:
        assert harmless(printable(text))
        line = printable_line(text)
        assert harmless(line)
        assert "\n" not in line

    @pytest.mark.parametrize("text", COMMANDS)
    def test_commands_and_escape_sequences(self, text: str) -> None:
        assert not harmless(text) or "\u202e" in text
        shown = printable(f"before\n{text}\nafter")
        assert harmless(shown)
        assert shown != f"before\n{text}\nafter"

    @pytest.mark.parametrize("text", ["", "no price", "C:\\x", "a::b", "# heading", "a\n\tb\n", "x = y##z"])
    def test_other_text_is_as_it_was(self, text: str) -> None:
        assert printable(text) == text

    def test_windows_ends_of_lines_are_ends_of_lines(self) -> None:
        assert printable("a\r\nb") == "a\nb"

    @given(anything)
    def test_json_means_the_same(self, text: str) -> None:
        written = json_bytes({text: [text]})
        assert harmless(written.decode().rstrip("\n"))
        assert json.loads(written) == {text: [text]}
        assert json.loads(json_printable(json.dumps(text))) == text


class TestWhereItIsShown:
    @pytest.mark.parametrize("text", COMMANDS)
    def test_tables(self, text: str) -> None:
        from rich.console import Console

        made = table("name")
        add_row(made, text)
        out = io.StringIO()
        Console(file=out, width=200).print(made)
        assert harmless(out.getvalue())

    @pytest.mark.parametrize("text", COMMANDS)
    def test_the_progress_bar(self, text: str) -> None:
        counters = Counters(total=1, failed=1)
        record = SessionRecord("s-1234", SessionState.FAILED, "", text, counters, 0.0, 1.0, 2.0, reason=text)
        assert harmless(_summary(record).plain)

    @pytest.mark.parametrize("text", COMMANDS)
    def test_exceptions(self, text: str) -> None:
        """Whoever does not catch them has them printed by Python; what the error says is kept as it was."""
        failure = TaskFailed("s-1234", 0, TaskError(text, text, text))
        ended = SessionFailed("s-1234", "FAILED", text, [failure])
        assert harmless(str(failure))
        assert harmless(str(ended))
        assert ended.failures[0].error.message == text

    @pytest.mark.parametrize("text", COMMANDS)
    def test_the_agents_readable_log(self, text: str) -> None:
        root, ours = logging.getLogger(), logging.getLogger("htcgrid_core")
        before = root.handlers, root.level, ours.level
        out = io.StringIO()
        try:
            configure("info", "text", out)
            try:
                raise ValueError(text)
            except ValueError:
                ours.exception("it failed: %s", text, extra={"who": text, "more": [text, {text: text}]})
        finally:
            root.handlers = before[0]
            root.setLevel(before[1])
            ours.setLevel(before[2])
        assert "ValueError" in out.getvalue()
        assert harmless(out.getvalue())

    @pytest.mark.parametrize("text", COMMANDS)
    def test_the_log_of_an_embedded_grids_agent(self, text: str) -> None:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(PrintableFormatter("%(message)s"))
        try:
            raise ValueError(text)
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
            handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "it failed: %s", (text,), info))
        assert "Traceback" in out.getvalue()
        assert harmless(out.getvalue())
