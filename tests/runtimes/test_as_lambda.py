"""A native worker of a deployed function is to a handler what AWS's client for Python is."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Session
from htcgrid_core.domain.function import EXEC_WRAPPER
from tests.runtimes.both import PROBE, Both


def without_ids(told: Any, session: Session) -> Any:
    """What does not depend on which session it is."""
    text = json.dumps(told).replace(session.id, "SESSION")
    return json.loads(re.sub(r"(?<=Parent=)[0-9a-f]{16}|(?<=4736-)[0-9a-f]{16}(?=-01)", "SPAN", text))


@pytest.mark.parametrize("function", ["probe", "own"])
@pytest.mark.parametrize("what", ["environment", "context"])
def test_the_same_is_told(both: Both, function: str, what: str) -> None:
    sessions = both.sessions(function, {"what": what}, {"what": what}, tenant="rates")
    told = {kind: without_ids(list(session.results()), session) for kind, session in sessions.items()}
    if what == "environment":
        for each in told["native"] + told["awslambdaric"]:
            folder = each.pop("LAMBDA_TASK_ROOT")
            assert Path(folder).name == "task"
            assert each.pop("LAMBDA_RUNTIME_DIR") == folder
    assert told["native"] == told["awslambdaric"]


def test_what_is_told_of_the_environment(both: Both) -> None:
    first = both.results("probe", {"what": "environment"})["native"][0]
    assert first["credentials"] == []
    assert (first["AWS_LAMBDA_FUNCTION_NAME"], first["AWS_LAMBDA_FUNCTION_VERSION"]) == ("probe", "1")
    assert (first["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], first["_HANDLER"]) == ("512", "probe.handler")
    assert (first["TZ"], first["AWS_REGION"], first["AWS_DEFAULT_REGION"]) == (":UTC", None, None)
    own = both.results("own", {"what": "environment"})["native"][0]
    assert (own["TZ"], own["AWS_REGION"], own["AWS_DEFAULT_REGION"]) == ("Europe/London", "eu-west-1", "eu-west-1")
    assert int(own["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) > 0


def test_what_is_told_of_the_context(both: Both) -> None:
    session = both.sessions("probe", {"what": "context"}, tenant="rates")["native"]
    (told,) = session.results()
    assert told["aws_request_id"] == f"{session.id}/0/1"
    assert (told["memory_limit_in_mb"], told["tenant_id"]) == ("512", "rates")
    assert told["invoked_function_arn"] == "arn:aws:lambda:local:000000000000:function:probe:1"
    assert told["w3c"] == {name: told["custom"][name] for name in ("traceparent", "tracestate")}
    assert told["w3c"]["tracestate"] == "vendor=1"


@pytest.mark.parametrize(("function", "level"), [("probe", logging.WARNING), ("probe", logging.ERROR), ("own", 30)])
def test_logs_read_the_same(both: Both, function: str, level: int) -> None:
    """In text, and in JSON with AWS's names; the second session's task finds the level that the first has set."""
    event = {"what": "log", "level": level}
    for _ in range(2):
        sessions = both.sessions(function, event, isolation="session" if level == logging.ERROR else None)
        printed = {kind: next(iter(session.tasks())).stdout for kind, session in sessions.items()}
        said = {kind: _without_times(text, sessions[kind]) for kind, text in printed.items()}
        assert said["native"] == said["awslambdaric"]
        assert "SESSION/0/1" in said["native"]
        assert "printed" in said["native"]
        assert "not printed" not in said["native"]


def _without_times(text: str, session: Session) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text.replace(session.id, "SESSION"))
    return re.sub(r'[^" ]*/task/probe.py', "probe.py", text)


def test_the_trace_of_each_task_is_in_its_environment(both: Both) -> None:
    told = both.results("probe", *[{"what": "trace"}] * 3, bundle_size=3)
    for results in told.values():
        assert len({each["got"] for each in results}) == 3
        for each in results:
            assert each["got"].startswith("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=")
            assert each["copied"] == each["got"]
            assert (each["in"], each["listed"]) == (True, True)
            assert (each["set"], each["deleted"]) == ("Root=own", [False, False, True])


def test_what_was_printed_before_a_kill_is_kept(both: Both) -> None:
    for session in both.sessions("probe", {"what": "print_and_die"}).values():
        (task,) = session.tasks()
        assert task.error is not None
        assert task.error.type == "WorkerCrashed"
        assert task.stdout.startswith("to stdout\n[ERROR]\t")
        assert task.stderr == "to stderr\n"


SENTRY = """
import sys, types
integrations = types.ModuleType("sentry_sdk.integrations")
integrations._installed_integrations = set()
sys.modules["sentry_sdk.integrations"] = integrations
sys.modules["sentry_sdk.integrations.aws_lambda"] = types.ModuleType("aws_lambda")  # as by its integration of chalice

def handler(event, context):
    integrations._installed_integrations.update(event)
    return event
"""


def test_what_changes_aws_s_client_is_refused_when_it_is_set_up(both: Both, tmp_path: Path) -> None:
    """Sentry's module may be imported; in a handler, that may be set up which does nothing in native workers."""
    (tmp_path / "app.py").write_text(SENTRY)
    both.deploy("sentry", tmp_path, "app.handler")
    native = both.sessions("sentry", [], ["chalice"])["native"]
    assert list(native.results()) == [[], ["chalice"]]
    (task,) = both.sessions("sentry", ["aws_lambda"], isolation="session")["native"].tasks()
    assert task.error is not None
    assert "runtime_client=True" in task.error.message


CLOSES_ITS_OUTPUT = """
import os, sys
from htcgrid_core.agent.workers import captured_output
told = os.dup(1)
os.dup2(captured_output.capture_file(), 1)
stream = captured_output.Stream("stdout", 1)
sys.stdout.reconfigure(line_buffering=True)
for _ in range(2):
    sys.stdout.close()
    stream.take()
    print("printed")
    os.write(told, captured_output.last_of(1).encode())
os._exit(0)
"""


def test_lines_are_written_as_they_end_also_after_a_task_that_closed_its_output() -> None:
    """Or what a later task printed before it was killed would be lost."""
    done = subprocess.run([sys.executable, "-c", CLOSES_ITS_OUTPUT], capture_output=True, text=True, check=True)
    assert done.stdout == "printed\n" * 2


@pytest.mark.parametrize(
    ("file", "handler"),
    [
        ("lambda-function.py", "lambda-function.handler"), ("01_ingest.py", "01_ingest.handler"),
        ("my-app/main.py", "my-app/main.handler"), ("my-app/2nd/main.py", "my-app.2nd/main.handler"),
    ],
)  # fmt: skip
def test_files_whose_names_are_no_identifiers(both: Both, tmp_path: Path, file: str, handler: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("def handler(event, context):\n    return [event, __name__]\n")
    name = re.sub(r"\W", "-", handler)
    both.deploy(name, tmp_path, handler)
    module = handler.replace("/", ".").removesuffix(".handler")
    assert both.results(name, 7) == {"native": [[7, module]], "awslambdaric": [[7, module]]}


def test_a_function_may_ask_for_aws_s_client_and_wrap_it(both: Both, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_bytes((PROBE / "probe.py").read_bytes())
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\nWRAPPED="$*" exec "$@"\n')
    wrapper.chmod(0o755)
    both.deploy("asks", tmp_path, "probe.handler", runtime_client=True)
    both.deploy("wraps", tmp_path, "probe.handler", runtime_client=True, environment={EXEC_WRAPPER: "wrapper"})
    assert both.results("probe", {"what": "client"})["native"] == [{"client": False, "wrapped": None}]
    assert both.results("asks", {"what": "client"})["native"] == [{"client": True, "wrapped": None}]
    (told,) = both.results("wraps", {"what": "client"})["native"]
    assert told["wrapped"].endswith("-m awslambdaric probe.handler")


def test_a_wrapper_that_is_not_there_is_an_init_error(both: Both) -> None:
    both.deploy("lacks", PROBE, "probe.handler", runtime_client=True, environment={EXEC_WRAPPER: "/opt/no-such"})
    for session in both.sessions("lacks", {"what": "client"}).values():
        (task,) = session.tasks()
        assert task.error is not None
        assert task.error.type == "InitError"
        assert "/opt/no-such cannot be run" in task.error.message + task.error.traceback
