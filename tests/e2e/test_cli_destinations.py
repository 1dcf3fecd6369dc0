"""``htcgrid destinations``, and what the other commands say of them, on a grid of one machine with real agents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from htcgrid_core.testing.contracts.facts import eventually
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    with fresh_grid(tmp_path / "grid") as url:
        yield CommandLine.in_folder(tmp_path / "work", url)


@pytest.fixture
def heard() -> Iterator[tuple[str, list[bytes]]]:
    """A webhook's address, and what it was told."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_from_registration_to_the_telling(cli: CommandLine, heard: tuple[str, list[bytes]]) -> None:
    url, bodies = heard
    made = cli.run("destinations", "add", "desk", url, "--private", "--progress", "75,25")
    assert made.code == 0
    assert made.out.startswith("whsec_")
    listed = cli.call("destinations", "list", "--json")
    assert listed.object == {
        "name": "desk", "kind": "webhook", "target": url, "private": True, "progress": [25, 75], "disabled": "",
    }  # fmt: skip
    assert "whsec_" not in listed.out
    session = cli.session("mine.square", "--range", "3", "--notify", "desk", "--wait", "--no-progress")

    def told() -> list[dict[str, object]]:
        return list(cli.call("status", session, "--json").object["notifications"])

    rows = eventually(told, lambda rows: all(row["state"] != "PENDING" for row in rows))
    assert [(row["to"], row["state"], row["attempts"]) for row in rows] == [
        ("desk", "DELIVERED", 1), ("desk@25", "DELIVERED", 1), ("desk@75", "DELIVERED", 1),
    ]  # fmt: skip
    events = {event["id"]: event for event in map(json.loads, bodies)}
    assert [events[row["event"]]["type"].rpartition(".")[2] for row in rows] == ["completed", "progress", "progress"]
    assert [events[row["event"]]["data"].get("mark") for row in rows] == [None, 25, 75]
    assert {event["subject"] for event in events.values()} == {session}
    assert len(bodies) == 3
    assert "desk" in cli.call("status", session).out
    assert cli.run("destinations", "remove", "desk").code == 0
    refused = cli.run("submit", "mine.square", "--range", "1", "--notify", "desk")
    assert refused.code == 2
    assert "'desk' is not registered" in refused.err
