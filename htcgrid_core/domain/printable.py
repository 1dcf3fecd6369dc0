"""Text of a session as it may be shown on a terminal or in a log.

Names, labels, errors and output come from whoever submits and from handlers. Control characters in them would move a
terminal's cursor, hide what comes after them or forge lines; and some CI systems take certain lines of a log for
commands.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls and DEL, what reverses the direction of text, lines that only some programs see, lone surrogates.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
CONTROL = re.compile(f"[{_CONTROLS}]")
_BUT_LINES = re.compile(rf"(?![\n\t])[{_CONTROLS}]")
# GitHub's `::name::` at the beginning of a line, and its older `##[name]`; Azure's `##vso[`, TeamCity's `##teamcity[`.
# GitLab's markers need control characters.
_COMMAND_LINE = re.compile(r"^(\s*)::", re.MULTILINE)
_COMMAND = re.compile(r"##(?=\w*\[)")


def printable(text: str) -> str:
    """Lines of text with every other control character escaped, none of which is a command to a CI system."""
    if text.isascii() and text.isprintable() and "::" not in text and "##" not in text:
        return text
    escaped = _BUT_LINES.sub(_escape, text.replace("\r\n", "\n"))
    return _COMMAND.sub(r"#\\#", _COMMAND_LINE.sub(r"\1\\::", escaped))


def printable_line(text: str) -> str:
    """The same in one line: a name in a table, or a message behind a colon."""
    return printable(CONTROL.sub(_escape, text))


def json_printable(text: str) -> str:
    """JSON that means the same, with what ``printable`` would escape as JSON's own escapes, which stand in strings."""
    escaped = CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return _COMMAND.sub(r"#\\u0023", escaped)


def printable_fields(value: Any) -> Any:
    """Every text in a value of a log, whatever it is in."""
    if isinstance(value, str):
        return printable_line(value)
    if isinstance(value, list | tuple):
        return [printable_fields(one) for one in value]
    if isinstance(value, dict):
        return {printable_fields(name): printable_fields(one) for name, one in value.items()}
    return value


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
