"""What sessions say is shown in Prefect's UI as it is: neither links nor images nor HTML come of it."""

from __future__ import annotations

import re

import pytest

from htcgrid_core import Progress, SessionState
from htcgrid_prefect.flow.artifacts import _text
from htcgrid_prefect.shared.markdown import cell, escaped

LINKS = ["[x](https://example.org)", "![x](https://example.org/x.png)", "<img src=x>", "<https://example.org>"]


@pytest.mark.parametrize("text", LINKS)
def test_no_link_comes_of_a_name_or_a_reason(text: str) -> None:
    progress = Progress("s-1234", text, SessionState.FAILED, 1, 0, 1, 0, 0, 0.0, 1.0, text)
    shown = _text(progress)
    assert shown.count(escaped(text)) == 2
    assert not re.search(r"(?<!\\)[\[\]<!]", shown)


@pytest.mark.parametrize("text", LINKS)
def test_no_link_comes_of_an_errors_message(text: str) -> None:
    assert not cell(text).startswith(("[", "!", "<"))


@pytest.mark.parametrize("text", ["no price for desk_7 (rates)", "ValueError", "x * y"])
def test_cells_stay_readable(text: str) -> None:
    assert cell(text) == text


def test_control_characters_are_escaped() -> None:
    assert cell("a\x1b[2J\nb") == "a\\\\x1b\\[2J\\\\nb"
