"""``htcgrid audit`` and ``htcgrid costs``: who did what, and for how much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """A shell with a grid of its own."""
    with fresh_grid(tmp_path / "grid") as url:
        yield CommandLine.in_folder(tmp_path / "work", url)


def test_who_did_what(cli: CommandLine, tmp_path: Path) -> None:
    """To a session, and to the grid; by people and for programs."""
    done = cli.session("mine.square", "--range", "3", "--wait")
    waits = cli.session("mine.wait_for", "--range", "0", "--name", "none")
    assert cli.call("destinations", "add", "night", "arn:aws:sqs:eu-west-1:123456789012:night").code == 0
    assert cli.call("destinations", "remove", "night").code == 0
    assert cli.call("keys", "rotate").code == 0
    (submit, acknowledge, complete) = cli.call("audit", done, "--json").objects
    assert [submit["event"], acknowledge["event"], complete["event"]] == ["submit", "acknowledge", "complete"]
    assert (complete["actor"], complete["before"], complete["after"]) == ("grid", "RUNNING", "COMPLETED")
    assert "@" in submit["actor"], "user, host and process"
    events = [(one["event"], one["session"]) for one in cli.call("audit", "--since", "1h", "--json").objects]
    assert events[:3] == [("rotate-key", ""), ("remove-destination", ""), ("put-destination", "")]
    assert ("submit", waits) in events
    assert [event for event, _ in events].count("submit") == 2
    assert len(cli.call("audit", "--limit", "2", "--json").objects) == 2
    assert "put-destination" in cli.call("audit").out
    assert cli.call("audit", "--since", "2999-01-01").err == "nothing was done\n"


def test_the_address_of_a_webhook_may_be_a_secret(cli: CommandLine) -> None:
    assert cli.call("destinations", "add", "chat", "https://hooks.example.com/services/T1/only-mine?key=2").code == 0
    assert cli.call("destinations", "add", "desk", "https://desk.example.com").code == 0
    told = [one["detail"] for one in cli.call("audit", "--json").objects]
    assert told == ["desk https://desk.example.com", "chat https://hooks.example.com/..."]


def test_an_export_that_was_changed(cli: CommandLine, tmp_path: Path) -> None:
    cli.session("mine.square", "--range", "3", "--wait")
    file = tmp_path / "audit.jsonl"
    exported = cli.call("audit", "--export", str(file))
    assert (exported.code, exported.err) == (0, f"{file}: 3 entries\n")
    assert [json.loads(line).get("event") for line in file.read_text().splitlines()] == [
        None, "complete", "acknowledge", "submit", None,
    ]  # fmt: skip
    assert cli.call("audit", "--verify", str(file)).out == f"{file} is as this grid exported it, with 3 entries\n"
    assert cli.call("audit", "--verify", "-", stdin=file.read_bytes()).code == 0
    piped = cli.run("audit", "--export", "-")
    assert len(piped.out.splitlines()) == 5
    file.write_text(file.read_text().replace("complete", "cancel"))
    refused = cli.call("audit", "--verify", str(file))
    assert refused.code != 0
    assert "not as it was written" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("s-0123456789abcdef01234567",), 4, "nothing is known"),
        (("--verify", "none.jsonl"), 2, "cannot be read"),
        (("--export", "no/folder/here"), 2, "cannot be written"),
        (("--since", "yesterday"), 2, "neither a day"),
        (("s-1", "--export", "x"), 2, "Say one of"),
        (("--verify", "mine.py"), 2, "no export of an audit"),
    ],
)
def test_what_cannot_be_told(cli: CommandLine, arguments: tuple[str, ...], code: int, says: str) -> None:
    cli.session("mine.square", "--range", "0")
    ran = cli.call("audit", *arguments)
    assert ran.code == code
    assert says in ran.err


def test_costs(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on a machine whose slots have no price; else the seconds of its tasks."""
    one = cli.session("mine.square", "--range", "3", "--label", "desk=rates", "--wait")
    cli.session("mine.echo", "--range", "2", "--wait")
    free = cli.call("costs", "--json").object
    assert (free["key"], free["sessions"], free["tasks"], free["cost"]["total"]) == ("default", 2, 5, 0)
    assert "no price" in cli.call("costs").err
    assert "cost" not in cli.call("status", one).out
    prices = tmp_path / "prices.json"
    prices.write_text('{"slot_hour": 3600000.0}')
    monkeypatch.setenv("HTCGRID_PRICES", str(prices))
    rows = {row["key"]: row for row in cli.call("costs", "--by", "label:desk", "--json").objects}
    assert {key: row["tasks"] for key, row in rows.items()} == {"": 2, "rates": 3}
    assert rows["rates"]["cost"]["compute"] == pytest.approx(1000 * rows["rates"]["task_seconds"])
    assert "dollars" in cli.call("status", one).out
    assert sum(row["tasks"] for row in cli.call("costs", "--since", "2020-01-01", "--json").objects) == 5
    assert cli.call("costs", "--since", "2026-02-30").code == 2
    monkeypatch.setattr("htcgrid_core.services.costs.ROWS_AT_ONCE", 1)
    refused = cli.call("costs", "--by", "label:desk")
    assert (refused.code, "more than 1 rows" in refused.err) == (2, True)
    assert cli.call("costs", "--by", "colour").code == 2
    prices.write_text('{"slot_hours": 1}')
    refused = cli.call("costs")
    assert refused.code == 2
    assert "slot_hours" in refused.err
    assert cli.call("submit", "mine.square", "--range", "1", "--wait").code == 0, "work goes on"


def test_an_estimate_submits_nothing(cli: CommandLine) -> None:
    cli.session("mine.square", "--range", "3", "--wait")
    known = cli.call("submit", "mine.square", "--range", "3000", "--estimate", "--json").object
    assert (known["tasks"], known["sessions"]) == (3000, 1)
    assert known["cost"]["total"] == known["low"] == 0
    unknown = cli.call("submit", "mine.echo", "--range", "3000", "--estimate")
    assert unknown.code == 0
    assert "unknown" in unknown.out
    assert len(cli.call("sessions", "--json").objects) == 1
