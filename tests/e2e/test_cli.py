"""The command line's main flows."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.e2e.command_line import PROGRAM, CommandLine
from tests.e2e.support import REPOSITORY, directory_of, eventually


@pytest.fixture
def cli(url: str, tmp_path: Path) -> CommandLine:
    """A shell in a folder of this test's own."""
    return CommandLine.in_folder(tmp_path / "work", url)


def test_submit_watch_results(cli: CommandLine) -> None:
    session = cli.session("mine.square", "--range", "20", "--name", "squares")
    watched = cli.run("watch", session)
    assert (watched.code, watched.out) == (0, "")
    assert "squares: COMPLETED, 20 of 20 tasks completed" in watched.err
    results = cli.run("results", session)
    assert results.code == 0
    assert [int(line) for line in results.out.splitlines()] == [n * n for n in range(20)]


def test_submit_prints_nothing_but_the_id_or_one_object(cli: CommandLine) -> None:
    plain = cli.call("submit", "mine.square", "--range", "3")
    assert len(plain.out.split()) == 1
    assert plain.err == ""
    as_json = cli.call("submit", "mine.square", "--range", "3", "--wait", "--json").object
    assert (as_json["state"], as_json["total"], as_json["completed"]) == ("COMPLETED", 3, 3)
    assert as_json["session"] != plain.out.strip()


@pytest.mark.parametrize(
    ("name", "text", "events"),
    [
        (
            "e.jsonl",
            '\ufeff{"a": 1}\n\n[1, 2]\n"é"\r\n12345678901234567890123\nnull',
            [{"a": 1}, [1, 2], "é", 12345678901234567890123, None],
        ),
        ("e.json", '[{"a": 1},\n 2]', [{"a": 1}, 2]),
        ("e.csv", 'a,b\n1,x\n2,"y\nz"\n', [{"a": "1", "b": "x"}, {"a": "2", "b": "y\nz"}]),
        ("e.txt", "1\n2\n", [1, 2]),
    ],
)
def test_events_from_files(cli: CommandLine, name: str, text: str, events: list[object]) -> None:
    (cli.folder / name).write_text(text, encoding="utf-8")
    results = cli.call("results", cli.session("mine.echo", "--events", name))
    assert [json.loads(line) for line in results.out.splitlines()] == events


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("e.csv", "Kennung;Betrag\nMüller;1.234,5\n".encode("cp1252"), ("--separator", ";", "--encoding", "cp1252")),
        ("e.tsv.gz", gzip.compress("Kennung\tBetrag\nMüller\t1.234,5\n".encode()), ()),
        ("-", gzip.compress("Kennung|Betrag\n'Müller'|1.234,5\n".encode()), ("--separator", "|", "--quote", "'")),
    ],
)
def test_how_a_file_is_to_be_read(cli: CommandLine, name: str, data: bytes, options: tuple[str, ...]) -> None:
    (cli.folder / "e.csv").write_bytes(data)
    (cli.folder / "e.tsv.gz").write_bytes(data)
    arguments = ("submit", "mine.echo", "--events", name, "--format", "csv", "--decimal", ",", *options)
    ran = cli.call(*arguments, stdin=data)
    assert ran.code == 0, ran.err
    results = cli.call("results", ran.out.strip())
    assert results.out == '{"Kennung": "Müller", "Betrag": "1234.5"}\n'


def test_a_file_that_is_read_in_no_such_way(cli: CommandLine) -> None:
    (cli.folder / "e.csv").write_text("Kennung;Betrag\nA;1\n")
    wrong = cli.call("submit", "mine.echo", "--events", "e.csv")
    assert (wrong.code, wrong.out) == (2, "")
    assert "e.csv, line 1: there are semicolons in the header" in wrong.err
    wrong = cli.call("submit", "mine.echo", "--events", "-", "--separator", ";", stdin="1\n")
    assert "a jsonl file is read without separator" in wrong.err
    assert "--range reads no file" in cli.call("submit", "mine.echo", "--range", "1", "--quote", "").err


def test_events_from_stdin(cli: CommandLine) -> None:
    submitted = cli.run("submit", "mine.square", "--events", "-", stdin="2\n3\n")
    assert cli.run("results", submitted.out.strip()).out == "4\n9\n"
    rows = cli.run("submit", "mine.echo", "--events", "-", "--format", "csv", stdin="a\n1\n")
    assert cli.run("results", rows.out.strip()).out == '{"a": "1"}\n'


def test_all_options_arrive_in_the_session(cli: CommandLine) -> None:
    session = cli.session(
        "mine.square", "--range", "2", "--name", "n", "--token", f"all-options-{cli.folder}", "--task-timeout", "5",
        "--timeout", "60", "--max-attempts", "4", "--backoff-base", "0.5", "--backoff-cap", "9", "--never-retry",
        "KeyError", "--never-retry", "ValueError", "--max-failures", "1%", "--memory-mb", "512", "--priority", "high",
        "--isolation", "session", "--label", "desk=rates", "--label", "run=a=b",
    )  # fmt: skip
    spec = cli.call("status", session, "--json").object["spec"]
    assert spec["retry"] == {
        "max_attempts": 4,
        "backoff_base_seconds": 0.5,
        "backoff_cap_seconds": 9.0,
        "never_retry": ["KeyError", "ValueError"],
    }
    wanted = {
        "name": "n", "task_timeout_seconds": 5.0, "timeout_seconds": 60.0, "max_failures": 0.01, "memory_mb": 512,
        "isolation": "session",
        "priority": "high", "pool": "default", "labels": {"desk": "rates", "run": "a=b"},
    }  # fmt: skip
    assert {name: spec[name] for name in wanted} == wanted


def test_a_token_gives_the_same_session_again(cli: CommandLine) -> None:
    submit = ("submit", "mine.square", "--token", f"once-{cli.folder}", "--range")
    first, again, other = cli.call(*submit, "3"), cli.call(*submit, "3"), cli.call(*submit, "4")
    assert first.out == again.out
    assert (other.code, other.out) == (2, "")
    assert "same token" in other.err


@pytest.fixture
def failed(cli: CommandLine) -> str:
    """A session of 7 tasks, of which 0, 3 and 6 failed."""
    ran = cli.run("submit", "mine.moody", "--range", "7", "--max-attempts", "1", "--wait")
    assert ran.code == 1
    assert "3 of 7 tasks failed" in ran.err
    return ran.out.strip()


def test_a_failed_session(cli: CommandLine, failed: str) -> None:
    assert cli.run("watch", failed).code == 1
    results = cli.run("results", failed)
    assert (results.code, results.out) == (1, "")
    assert "ValueError: no 3" in results.err
    assert "Traceback" not in results.err

    returned = cli.run("results", failed, "--errors", "return")
    assert returned.code == 0
    lines = [json.loads(line) for line in returned.out.splitlines()]
    assert [line for line in lines if isinstance(line, int)] == [1, 2, 4, 5]
    error = lines[3]["error"]
    assert (error["index"], error["type"], error["message"]) == (3, "ValueError", "no 3")
    assert "in moody" in error["traceback"]

    assert cli.run("status", failed).code == 0


def test_tasks_and_logs(cli: CommandLine, failed: str) -> None:
    table = cli.call("tasks", failed, "--state", "FAILED").out
    assert "ValueError: no 6" in table
    assert "COMPLETED" not in table

    tasks = {task["index"]: task for task in cli.call("tasks", failed, "--json").objects}
    assert sorted(tasks) == list(range(7))
    assert (tasks[3]["state"], tasks[3]["stdout"], tasks[3]["stderr"]) == ("FAILED", "saw 3\n", "worried by 3\n")
    assert "in moody" in tasks[3]["error"]["traceback"]
    assert (tasks[4]["state"], tasks[4]["error"], tasks[4]["attempts"]) == ("COMPLETED", None, 1)
    assert len(cli.call("tasks", failed, "--json", "--limit", "2").objects) == 2
    assert "there are more" in cli.call("tasks", failed, "--limit", "2").err

    logs = cli.call("logs", failed, "3")
    assert (logs.code, logs.out) == (0, "saw 3\n")
    assert logs.err.startswith("worried by 3\nTraceback")
    assert cli.call("logs", failed, "4", "--json").object == tasks[4]
    assert cli.call("logs", failed, "7").code == 4


def test_resubmit_fills_the_gaps(cli: CommandLine, failed: str) -> None:
    (cli.folder / "healed").touch()
    again = cli.call("resubmit", failed, "--wait", "--json").object
    assert (again["state"], again["total"]) == ("COMPLETED", 3)
    assert cli.call("results", again["session"]).out.split() == list("0123456")


def test_cancel(cli: CommandLine) -> None:
    (cli.folder / "e.jsonl").write_text('"gate"\n' * 5)
    session = cli.session("mine.wait_for", "--events", "e.jsonl")
    running = cli.call("resubmit", session)
    assert running.code == 2
    assert "still runs" in running.err

    waited = cli.call("watch", session, "--timeout", "0.1", "--json")
    assert (waited.code, waited.object["state"]) == (5, "RUNNING")
    assert f"htcgrid watch {session}" in waited.err

    eventually(lambda: (cli.folder / "gate.begun").exists(), "a task runs")
    eventually(
        lambda: "RUNNING" in {task["state"] for task in cli.call("tasks", session, "--json").objects},
        "its agent tells that it has begun",
    )
    assert "once it has ended" in cli.call("logs", session, "0").err

    cancelled = cli.call("cancel", session, "s-unknown", "--reason", "wrong book", "--json")
    assert cancelled.code == 4
    assert cancelled.object["state"] == "CANCELLING"
    ended = cli.call("watch", session, "--json")
    assert (ended.code, ended.object["state"], ended.object["cancelled"]) == (1, "CANCELLED", 5)
    history = cli.call("status", session, "--json").object["history"]
    assert ("cancel", "wrong book") in [(entry["event"], entry["detail"]) for entry in history]
    assert cli.call("cancel", session).code == 0, "a session that has ended stays as it is"


def test_sessions_and_status(cli: CommandLine) -> None:
    mark = f"test={cli.folder.parent.name}"
    ids = [cli.session("mine.square", "--range", "2", "--label", mark, "--label", f"n={n}") for n in range(3)]
    assert [one["session"] for one in cli.call("sessions", "--label", mark, "--json").objects] == ids[::-1]
    assert [one["session"] for one in cli.call("sessions", "--label", mark, "--limit", "1", "--json").objects] == ids[
        2:
    ]
    assert cli.call("sessions", "--label", mark, "--state", "FAILED", "--json").out == ""
    assert [one["labels"]["n"] for one in cli.call("status", *ids, "--json").objects] == ["0", "1", "2"]
    some = cli.call("status", ids[0], "s-unknown", ids[1])
    assert some.code == 4
    assert "'s-unknown' does not exist" in some.err
    assert ids[0] in some.out
    assert ids[1] in some.out


def test_results_into_a_file_that_is_whole_or_not_there(cli: CommandLine, failed: str) -> None:
    summary = cli.call("results", failed, "--errors", "return", "--output", "out.jsonl", "--json").object
    assert (summary["results"], summary["errors"], summary["output"]) == (4, 3, "out.jsonl")
    assert len((cli.folder / "out.jsonl").read_text().splitlines()) == 7
    # A COMPLETED session with a tolerated failure: the first gap comes after some results have been written.
    some = cli.session("mine.moody", "--events", _events(cli, 1, 2, 3), "--max-attempts", "1", "--max-failures", "1")
    gap = cli.call("results", some, "--output", "gap.jsonl")
    assert gap.code == 1
    assert "--errors return" in gap.err
    assert sorted(path.name for path in cli.folder.glob("*gap*")) == []
    assert cli.call("results", some, "--output", "no/such/folder").code == 2
    assert cli.call("results", some, "--errors", "return", "--output", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def _events(cli: CommandLine, *events: object) -> str:
    (cli.folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return "events.jsonl"


def test_results_of_pickled_sessions(cli: CommandLine, url: str) -> None:
    with connect(url) as grid:
        session = grid.submit(complex, [1, 2])
        session.wait()
        assert cli.call("results", session.id).out == '"(1+0j)"\n"(2+0j)"\n'
        (cli.folder / "elsewhere").mkdir()
        (cli.folder / "elsewhere" / "away.py").write_text(
            "class Thing:\n    pass\ndef make(event):\n    return Thing()\n"
        )
    script = "import away, htcgrid_core as h\nwith h.connect() as g: print(g.submit(away.make, [1]).id)"
    environment = {**os.environ, "HTCGRID_URL": url, "PYTHONPATH": str(cli.folder / "elsewhere")}
    python = PROGRAM.with_name("python")
    made = subprocess.run([python, "-c", script], env=environment, capture_output=True, text=True, check=True)
    missing = cli.call("results", made.stdout.strip())
    assert missing.code == 2
    assert "No module named 'away'" in missing.err
    assert "Traceback" not in missing.err


def test_output_that_nobody_reads_any_more(cli: CommandLine) -> None:
    session = cli.session("mine.echo", "--events", _events(cli, *(["x" * 1000] * 500)))
    writing = cli.start("results", session)
    assert writing.stdout is not None
    writing.stdout.readline()
    writing.stdout.close()
    assert writing.stderr is not None
    assert (writing.stderr.read(), writing.wait()) == ("", 141)


def test_ctrl_c_ends_the_watching_and_not_the_session(cli: CommandLine, url: str) -> None:
    session = cli.session("mine.wait_for", "--events", _events(cli, "gate"))
    watching = cli.start("watch", session)
    bells = directory_of(url).bells
    eventually(lambda: list(bells.rglob(f"{watching.pid}-*")), "it listens for the session's end")
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate()
    assert watching.returncode == 130
    assert f"session {session} goes on" in err
    assert "Traceback" not in err
    (cli.folder / "gate").touch()
    assert cli.call("watch", session).code == 0


def test_the_example_in_shell(cli: CommandLine) -> None:
    script = REPOSITORY / "example_dags" / "american_puts_cli.sh"
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HTCGRID_URL": cli.url, "PATH": path, "PATHS": "20000", "BATCH": "10000"}
    ran = subprocess.run(
        ["bash", script, "out"], cwd=cli.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "20 of 20 rows agree" in ran.stdout
    assert len((cli.folder / "out" / "results.jsonl").read_text().splitlines()) == 40


PAINT = """
import sys

def paint(event, context):
    print("\\x1b[2Jcleared\\n::error::forged")
    print("##[error]forged \\x9b2J", file=sys.stderr)
    if event:
        raise ValueError("\\x1b]0;title\\x07\\n::set-output name=a::b")
    return "\\x9b2J ##[error]"
"""


def test_what_handlers_print_and_raise_does_nothing_to_a_terminal(cli: CommandLine) -> None:
    (cli.folder / "painter.py").write_text(PAINT)
    (cli.folder / "events.jsonl").write_text("false\ntrue\n")
    submitted = cli.run("submit", "painter.paint", "--events", "events.jsonl", "--max-attempts", "1", "--wait")
    session = submitted.out.split()[0]
    shown = [submitted, cli.run("logs", session, "0"), cli.run("logs", session, "1"), cli.run("tasks", session)]
    shown += [cli.run("results", session, "--errors", "return"), cli.run("tasks", session, "--json")]
    for ran in shown:
        for text in (ran.out, ran.err):
            assert not set("\x1b\x9b\x07\r") & set(text)
            assert not any(line.lstrip().startswith("::") or "##[" in line for line in text.splitlines())
    assert "\\x1b[2Jcleared\n\\::error::forged" in shown[1].out
    assert json.loads(shown[4].out.splitlines()[0]) == "\x9b2J ##[error]"
    raw = cli.run("logs", session, "0", "--raw")
    assert (raw.out, raw.err) == ("\x1b[2Jcleared\n::error::forged\n", "##[error]forged \x9b2J\n")


@pytest.mark.parametrize(
    "options", [("--name", "a\x1b[2J"), ("--name", "a\nb"), ("--label", "desk=\x9b"), ("--label", "de\x07sk=rates")]
)
def test_names_and_labels_have_no_control_characters(cli: CommandLine, options: tuple[str, ...]) -> None:
    before = cli.call("sessions", "--json").out
    ran = cli.call("submit", "mine.square", "--range", "2", *options)
    assert ran.code == 2
    assert "has a control character" in ran.err
    assert cli.call("sessions", "--json").out == before
