"""The grid's Lambda functions over a grid on an emulator, called in this process with AWS's events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from htcgrid_core import Grid, InvalidEvents, InvalidInput, SessionNotFinished, SessionNotFound
from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.messenger import AwsMessenger
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.cloud.lambda_function import served_grid
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.cloud.reconcile import tick
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import SessionConflict
from htcgrid_core.domain.place import Place
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.lambdas import cancel_tasks, get_results, scaling_metrics, submit_tasks, ttl_checker
from htcgrid_core.lambdas.served import Served, served
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.services.commit import commit
from htcgrid_core.services.telling import tell_all
from tests.aws import lambda_events
from tests.aws.emulators import Account
from tests.aws.function_agents import Context
from tests.aws.lambda_grid import forget, live
from tests.aws.lambda_permissions import Need, allowed, recorded
from tests.aws.step_functions import StepFunctions, step_functions
from tests.manual_agent import run, take

SQUARE = "tests.e2e.handlers.double"
EXAMPLES = Path(__file__).parents[2] / "example_dags" / "step_functions"


def finish(here: CloudPlane, session_id: str, function: Callable[[Any], Any]) -> None:
    """Run all bundles of a session."""
    for root in range(here.plane.store.session(session_id, 0.0).bundles):
        hint = Hint(session_id, root_id(root))
        work = take(here.plane, hint)
        assert work is not None
        commit(here.plane, work, run(here.plane, work, function).outcomes, [], Message(hint))


def done(event: Any) -> Any:
    return {"value": event}


def bad(event: Any) -> Any:
    raise ValueError(f"no {event}")


class TestSubmit:
    def test_direct(self, here: CloudPlane, grid: Grid) -> None:
        asked = {"function": SQUARE, "events": [1, 2], "token": "night", "labels": {"desk": "rates"}, "priority": "low"}
        answer = submit_tasks.handler(asked, None)
        session = grid.session(answer["session"])
        assert answer == {"session": session.id, "state": "RUNNING", "total": 2}
        assert session.id.startswith("rates.")
        assert session.labels == {"desk": "rates"}
        assert submit_tasks.handler(asked, None)["session"] == session.id
        with pytest.raises(SessionConflict):
            submit_tasks.handler({**asked, "events": [3]}, None)

    @pytest.mark.parametrize(("retry", "attempts"), [(5, 5), (0, 1), (None, 3), ({"max_attempts": 2}, 2)])
    def test_retry_is_a_number_or_a_policy(self, here: CloudPlane, grid: Grid, retry: Any, attempts: int) -> None:
        asked = {"function": SQUARE, "events": [1], "retry": retry}
        assert grid.session(submit_tasks.handler(asked, None)["session"]).spec.retry.max_attempts == attempts
        with pytest.raises(InvalidInput, match=r"retry: .*how many attempts"):
            submit_tasks.handler({**asked, "retry": True}, None)

    @pytest.mark.parametrize("shape", [lambda_events.http, lambda_events.rest])
    def test_over_http(self, here: CloudPlane, grid: Grid, shape: Any) -> None:
        answer = submit_tasks.handler(shape({"function": SQUARE, "events": [1, 2]}), None)
        assert answer["statusCode"] == 200, answer
        assert grid.session(json.loads(answer["body"])["session"]).progress().total == 2

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({"function": SQUARE}, 422, "either events or events_uri"),
            ({"function": SQUARE, "events": [1], "evnets": []}, 422, "evnets: there is no such option"),
            ({"function": "nosuch", "events": [1]}, 404, "nosuch"),
            ({"function": SQUARE, "events": [1], "pool": "none"}, 422, "none"),
            ({"function": SQUARE, "events": [1], "tenant": "fx"}, 422, "tenant: there is no such option"),
            ({"function": SQUARE, "events": [1], "notify": ["nobody"]}, 422, "not registered"),
            ([1], 422, "no JSON object"),
        ],
    )
    def test_what_is_refused_over_http(self, untouched: None, body: Any, status: int, says: str) -> None:
        answer = submit_tasks.handler(lambda_events.http(body), None)
        problem = json.loads(answer["body"])
        assert (answer["statusCode"], problem["status"]) == (status, status)
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert says in problem["detail"]

    def test_events_that_do_not_fit_their_functions_schema(self, here: CloudPlane, grid: Grid, tmp_path: Path) -> None:
        """Directly, over HTTP with what is wrong of which row, and by a message, which comes again."""
        (tmp_path / "app.py").write_text("def handler(event, context): return event\n")
        grid.deploy("fitting", tmp_path, handler="app.handler", events_schema={"required": ["id"]})
        asked, before = {"function": "fitting", "events": [{"id": 1}, {}]}, live(here)
        with pytest.raises(InvalidEvents, match="1 of 2 events"):
            submit_tasks.handler(asked, None)
        answer = submit_tasks.handler(lambda_events.http(asked), None)
        problem = json.loads(answer["body"])
        assert (answer["statusCode"], problem["code"], problem["bad"]) == (422, "invalid-events", 1)
        assert [one["row"] for one in problem["problems"]] == [1]
        event = lambda_events.sqs([json.dumps(asked)])
        assert len(submit_tasks.handler(event, None)["batchItemFailures"]) == 1
        assert live(here) == before
        assert submit_tasks.handler({**asked, "validate": "off"}, None)["total"] == 2

    def test_nobody_submits_unauthenticated(self, untouched: None) -> None:
        event = lambda_events.http({"function": SQUARE, "events": [1]})
        del event["requestContext"]["authorizer"]
        unsigned = lambda_events.rest({"function": SQUARE, "events": [1]}, signed=False)
        assert [submit_tasks.handler(one, None)["statusCode"] for one in (event, unsigned)] == [401, 401]

    def test_messages(self, here: CloudPlane, grid: Grid) -> None:
        """What is wrong comes again, until its queue has enough of it; what comes again is the same session."""
        good = json.dumps({"function": SQUARE, "events": [1]})
        event = lambda_events.sqs([good, "{", good, json.dumps({"function": SQUARE})])
        before = live(here)
        for _ in range(2):
            answer = submit_tasks.handler(event, None)
            failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
            assert failed == [event["Records"][at]["messageId"] for at in (1, 3)]
            assert len(live(here) - before) == 2

    def test_messages_of_a_group_stay_in_order(self, here: CloudPlane) -> None:
        good = json.dumps({"function": SQUARE, "events": [1]})
        answer = submit_tasks.handler(lambda_events.sqs([good, "{", good], group="desk"), None)
        assert len(answer["batchItemFailures"]) == 2

    def test_messages_that_no_time_is_left_for(self, here: CloudPlane) -> None:
        """The first is tried in any case: it has as much time as it ever will."""
        event = lambda_events.sqs([json.dumps({"function": SQUARE, "events": [n]}) for n in range(3)])
        for record in event["Records"]:
            record["messageId"] = f"late-{record['messageId']}"
        before = live(here)
        failed = submit_tasks.handler(event, Context(20))["batchItemFailures"]
        assert failed == [{"itemIdentifier": event["Records"][at]["messageId"]} for at in (1, 2)]
        assert len(live(here) - before) == 1
        assert submit_tasks.handler(event, Context(900)) == {"batchItemFailures": []}

    def test_no_secret_in_a_refusal(self, here: CloudPlane) -> None:
        with pytest.raises(InvalidInput) as caught:
            submit_tasks.handler({"function": SQUARE, "task_token": ["SECRET"]}, None)
        assert "SECRET" not in str(caught.value)


class TestVectors:
    @pytest.mark.parametrize(
        ("key", "content", "events"),
        [
            ("in/a.jsonl", b"1\n2\n", [1, 2]),
            ("in/a.json", b"[1, 2]", [1, 2]),
            ("in/a.csv", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
            ("in/empty.jsonl", b"", []),
        ],
    )
    def test_formats(self, bucket: str, account: Account, key: str, content: bytes, events: Any) -> None:
        account.s3().put_object(Bucket=bucket, Key=key, Body=content)
        answer = submit_tasks.handler({"function": SQUARE, "events_uri": f"s3://{bucket}/{key}"}, None)
        assert list(served().grid.session(answer["session"]).events()) == events

    def test_a_large_one_is_streamed(self, bucket: str, account: Account) -> None:
        """In several requests, lines across their bounds."""
        lines = b"".join(json.dumps({"n": n, "text": "x" * 900}).encode() + b"\n" for n in range(20_000))
        account.s3().put_object(Bucket=bucket, Key="in/large.jsonl", Body=lines)
        asked = {"function": SQUARE, "events_uri": f"s3://{bucket}/in/large.jsonl", "token": "large"}
        answer = submit_tasks.handler(asked, None)
        assert answer["total"] == 20_000
        assert [event["n"] for event in served().grid.session(answer["session"]).events()] == list(range(20_000))

    def test_a_manifest(self, bucket: str, account: Account) -> None:
        """Of a ResultWriter, which writes records of executions, or their outputs alone."""
        records = [{"ExecutionArn": f"arn:{n}", "Output": json.dumps({"n": n}), "Status": "SUCCEEDED"} for n in (1, 2)]
        files = {
            "in/run/manifest.json": {
                "DestinationBucket": bucket,
                "MapRunArn": "arn:aws:states:eu-west-1:123456789012:mapRun:x:y",
                "ResultFiles": {
                    "FAILED": [],
                    "PENDING": [],
                    "SUCCEEDED": [
                        {"Key": "in/run/SUCCEEDED_0.json", "Size": 1},
                        {"Key": "in/run/SUCCEEDED_1.jsonl", "Size": 1},
                    ],
                },
            },
            "in/run/SUCCEEDED_0.json": records,
            "in/run/SUCCEEDED_1.jsonl": {"n": 3},
        }
        for key, content in files.items():
            account.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode())
        uri = f"s3://{bucket}/in/run/manifest.json"
        answer = submit_tasks.handler({"function": SQUARE, "events_uri": uri}, None)
        assert list(served().grid.session(answer["session"]).events()) == [{"n": 1}, {"n": 2}, {"n": 3}]

    def test_a_manifest_that_leads_elsewhere(self, bucket: str, account: Account) -> None:
        for where, key in ((bucket, "secret/a.json"), ("another", "in/a.json")):
            manifest = {"DestinationBucket": where, "ResultFiles": {"SUCCEEDED": [{"Key": key, "Size": 1}]}}
            body = json.dumps(manifest).encode()
            account.s3().put_object(Bucket=bucket, Key="in/manifest.json", Body=body)
            with pytest.raises(InvalidInput, match="does not lie beside it"):
                submit_tasks.handler({"function": SQUARE, "events_uri": f"s3://{bucket}/in/manifest.json"}, None)

    @pytest.mark.parametrize(
        "uri",
        [
            "s3://BOOKS/secret/a.jsonl", "s3://BOOKS/out/a.jsonl", "s3://BOOKS/in", "s3://BOOKS/in/", "s3://other/in/a",
            "https://BOOKS/in/a", "s3://BOOKS", "file:///etc/passwd",
        ],
    )  # fmt: skip
    def test_no_other_place(self, bucket: str, here: CloudPlane, untouched: None, uri: str) -> None:
        uri = uri.replace("BOOKS", bucket)
        with pytest.raises(InvalidInput):
            submit_tasks.handler({"function": SQUARE, "events_uri": uri}, None)
        here.registry.put_place(Place(prefix=f"s3://{bucket}/secret/", use="events", tenant="fx"))
        with pytest.raises(InvalidInput):
            submit_tasks.handler({"function": SQUARE, "events_uri": uri}, None)

    def test_nothing_there(self, bucket: str) -> None:
        with pytest.raises(InvalidInput, match="there is no s3://books-"):
            submit_tasks.handler({"function": SQUARE, "events_uri": f"s3://{bucket}/in/none.jsonl"}, None)


class TestResults:
    def test_in_the_answer(self, here: CloudPlane) -> None:
        session = submit_tasks.handler({"function": SQUARE, "events": [1, 2]}, None)["session"]
        early = get_results.handler({"session": session}, None)
        assert (early["state"], early["pending"], early["results"]) == ("RUNNING", 2, None)
        finish(here, session, done)
        answer = get_results.handler(lambda_events.http(path={"session": session}, query={"max_bytes": "100"}), None)
        body = json.loads(answer["body"])
        assert (body["state"], body["completed"]) == ("COMPLETED", 2)
        assert body["results"] == [{"value": 1}, {"value": 2}]
        with pytest.raises(InvalidInput, match="`to`"):
            get_results.handler({"session": session, "max_bytes": 10}, None)

    def test_over_http_as_lambda_counts_it(self, here: CloudPlane) -> None:
        """Letters of any language take their bytes of UTF-8; what stands within text within JSON takes more."""
        text = "\ud800" + "名" * 700_000
        session = submit_tasks.handler({"function": SQUARE, "events": [1, 2]}, None)["session"]
        finish(here, session, lambda _: text)
        asked = lambda_events.http(path={"session": session})
        answer = get_results.handler(asked, None)
        assert answer["statusCode"] == 200, answer["body"][:300]
        assert len(json.dumps(answer, ensure_ascii=False).encode()) < 6_000_000
        assert json.loads(answer["body"])["results"] == [text, text]
        quotes = submit_tasks.handler({"function": SQUARE, "events": [1]}, None)["session"]
        finish(here, quotes, lambda _: '"' * 2_000_000)
        refused = get_results.handler(lambda_events.http(path={"session": quotes}), None)
        assert (refused["statusCode"], "`to`" in refused["body"]) == (422, True)

    def test_what_json_has_not(self, here: CloudPlane) -> None:
        session = submit_tasks.handler({"function": SQUARE, "events": [1, 2]}, None)["session"]
        finish(here, session, lambda event: {"price": 1.0 if event == 1 else float("nan")})
        with pytest.raises(InvalidInput, match=r"task 1 of session .* has NaN, .*`to`"):
            get_results.handler({"session": session}, None)

    def test_of_tasks_that_failed(self, here: CloudPlane) -> None:
        asked = {"function": SQUARE, "events": [1], "retry": {"max_attempts": 1}}
        session = submit_tasks.handler(asked, None)["session"]
        finish(here, session, bad)
        answer = get_results.handler({"session": session}, None)
        assert answer["state"] == "FAILED"
        assert answer["results"] == [{"error": {"index": 0, "type": "ValueError", "message": "no 1"}}]

    def test_written_to_s3(self, here: CloudPlane, bucket: str, account: Account) -> None:
        session = submit_tasks.handler({"function": SQUARE, "events": [1, 2]}, None)["session"]
        to = f"s3://{bucket}/out/values.jsonl"
        with pytest.raises(SessionNotFinished):
            get_results.handler({"session": session, "to": to}, None)
        finish(here, session, done)
        assert get_results.handler({"session": session, "to": to}, None)["to"] == to
        body = account.s3().get_object(Bucket=bucket, Key="out/values.jsonl")["Body"].read()
        assert body == b'{"value": 1}\n{"value": 2}\n'
        for elsewhere in (f"s3://{bucket}/in/values.jsonl", f"s3://{here.parameter.bucket}/x.jsonl"):
            with pytest.raises(InvalidInput, match="is no place for the results"):
                get_results.handler({"session": session, "to": elsewhere}, None)

    def test_of_nobody_else(self, here: CloudPlane, grid: Grid) -> None:
        """Sessions of other tenants are not there for whoever asks here."""
        other = grid.submit(SQUARE, [1], tenant="fx")
        for handler in (get_results.handler, cancel_tasks.handler):
            with pytest.raises(InvalidInput, match="is no session of tenant 'rates'"):
                handler({"session": other.id}, None)
            with pytest.raises(SessionNotFound):
                handler({"session": "rates.s-000000000000000000000000"}, None)
            absent = lambda_events.http(path={"session": "rates.s-000000000000000000000000"})
            assert handler(absent, None)["statusCode"] == 404

    def test_no_pickle_is_loaded(self, here: CloudPlane, grid: Grid) -> None:
        session = grid.submit(done, [1], tenant="rates")
        session.cancel()
        ttl_checker.handler({}, None)
        with pytest.raises(InvalidInput, match="pickled"):
            get_results.handler({"session": session.id}, None)


def test_cancel(here: CloudPlane, grid: Grid) -> None:
    session = submit_tasks.handler({"function": SQUARE, "events": [1, 2]}, None)["session"]
    answer = cancel_tasks.handler({"session": session, "reason": "no longer needed"}, None)
    assert answer == {"session": session, "state": "CANCELLING"}
    ended = grid.session(session).progress()
    assert (ended.state, ended.reason) == ("CANCELLED", "no longer needed")


def test_the_reconciler(here: CloudPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ttl_checker.handler({}, None)
    assert (done["sessions"]["aborted"], done["told"]) == (0, 0)
    assert ttl_checker.handler(None, None)["dead_letters"]["redriven"] == 0
    forget()
    monkeypatch.delenv("HTCGRID_URL")
    with pytest.raises(InvalidInput, match="HTCGRID_URL"):
        ttl_checker.handler(None, None)
    forget()


def test_metrics_for_scalers(here: CloudPlane, grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    grid.submit(SQUARE, range(30), priority="high", pool="big")
    grid.submit(SQUARE, range(12), priority="low", pool="big")
    capsys.readouterr()
    assert scaling_metrics.handler(lambda_events.schedule(), None)["slots_wanted"]["big"] == 42
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        _is_embedded_metric_format(line)
    of = {(line["Pool"], line.get("Priority")): line for line in lines}
    assert set(of) == {(pool, one) for pool in ("default", "big") for one in ("high", "normal", "low", None)}
    assert [of["big", one]["SlotsWanted"] for one in ("high", "normal", "low", None)] == [30, 0, 12, 42]
    assert of["big", None]["SessionsLive"] == 2
    assert of["big", "normal"]["TasksPending"] == 0


def _is_embedded_metric_format(line: Any) -> None:
    """As CloudWatch's specification has it."""
    assert isinstance(line["_aws"]["Timestamp"], int)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 0 < len(directive["Metrics"]) <= 100
        for names in directive["Dimensions"]:
            assert len(names) <= 30
            assert all(isinstance(line[name], str) and line[name] for name in names)
        for metric in directive["Metrics"]:
            assert isinstance(line[metric["Name"]], int | float)
            assert metric["Unit"] in ("Count", "Seconds")


def test_what_each_may_do_is_what_it_does(here: CloudPlane, bucket: str, account: Account, grid: Grid) -> None:
    """Every call is among the permissions beside the function, on the resource that it is made on."""
    here = served().cloud  # which functions use now
    places = {"in/": "places for events", "out/": "places for results"}
    queue = account.sqs().create_queue(QueueName="ends")["QueueUrl"]
    arn = f"arn:aws:sqs:eu-west-1:{account.id}:{queue.rpartition('/')[2]}"
    grid.gateway.add_destination(Destination(name="ends", target=arn, progress=(50,)))
    large = "\n".join(json.dumps("x" * 9000) for _ in range(40)).encode()
    account.s3().put_object(Bucket=bucket, Key="in/large.jsonl", Body=large)

    def check(function: str, *parts: set[Need], at_least: Need) -> None:
        made = set[Need]().union(*parts)
        assert at_least in made
        assert made <= allowed(function), f"{function} also did {made - allowed(function)}"

    with recorded(here, places) as submitted:
        asked = {"function": SQUARE, "token": "each", "notify": ["ends"], "retry": {"max_attempts": 1}}
        from_s3 = {**asked, "events_uri": f"s3://{bucket}/in/large.jsonl"}
        first = submit_tasks.handler(from_s3, None)["session"]
        submit_tasks.handler(from_s3, None)
        second = submit_tasks.handler({**asked, "token": "more", "events": list(range(12_000))}, None)
        with pytest.raises(InvalidInput):
            submit_tasks.handler({**asked, "task_token": "none", "token": "x", "events": []}, None)
    check("submit_tasks", submitted, at_least=("s3:GetObject", "places for events"))
    finish(here, first, lambda event: event)
    with recorded(here, places) as read:
        get_results.handler({"session": first}, None)
        get_results.handler({"session": first, "to": f"s3://{bucket}/out/r.jsonl"}, None)
    check("get_results", read, at_least=("s3:PutObject", "places for results"))
    with recorded(here, places) as cancelled:
        cancel_tasks.handler({"session": second["session"]}, None)
    check("cancel_tasks", cancelled, at_least=("dynamodb:UpdateItem", "table"))
    with recorded(scaling_metrics._opened()[0], places) as measured:
        scaling_metrics.handler({}, None)
    check("scaling_metrics", measured, at_least=("dynamodb:Query", "table/index/sessions-live"))
    short = submit_tasks.handler({**asked, "token": "short", "events": [1], "retention": 0.001}, None)["session"]
    account.sqs().send_message(QueueUrl=here.parameter.queues["default"].dead, MessageBody="nonsense")
    with recorded(here, places) as reconciled:
        finish(here, short, lambda event: event)
        for _ in range(2):
            tick(here, thorough=True)
    check("ttl_checker", reconciled, at_least=("sqs:SendMessage", "destinations that are queues"))


class TestStatesThatWait:
    """Step Functions' side is a stub with AWS's codes."""

    @pytest.fixture
    def service(self) -> Iterator[StepFunctions]:
        with step_functions() as service:
            yield service

    @pytest.fixture(autouse=True)
    def told(self, here: CloudPlane, service: StepFunctions, monkeypatch: pytest.MonkeyPatch) -> Served:
        """The grid, whose messages go to the stub."""
        keys = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
        messenger = AwsMessenger(Clients(AwsSettings(region="eu-west-1", endpoint=service.url), keys))
        deployment = CloudGrid(served_grid())
        deployment.plane = replace(deployment.plane, messenger=messenger)
        mine = Served(Grid(InProcessGateway(deployment)), replace(deployment.cloud, plane=deployment.plane), "rates")
        monkeypatch.setattr(submit_tasks, "served", lambda: mine)
        return mine

    def test_through_api_gateway(self, service: StepFunctions, told: Served) -> None:
        """``apigateway:invoke.waitForTaskToken``: its request is what the API brings to the function."""
        machine = json.loads((EXAMPLES / "fan_out_by_api.json").read_text())
        service.task("token-1")
        body = {
            **machine["Parameters"]["RequestBody"],
            "function.$": SQUARE, "events.$": [1, 2], "max_failures.$": 0, "token.$": "x/FanOut",
            "task_token.$": "token-1",
        }  # fmt: skip
        event = lambda_events.http({name.removesuffix(".$"): value for name, value in body.items()})
        event["requestContext"]["authorizer"] = {"iam": {"userArn": "arn:aws:sts::1:assumed-role/states/x"}}
        answer = submit_tasks.handler(event, None)
        assert answer["statusCode"] == 200, answer
        session = json.loads(answer["body"])["session"]
        assert service.task("token-1").beats == 1
        finish(told.cloud, session, done)
        tell_all(told.cloud.plane)
        heard = service.task("token-1").told
        assert heard is not None
        assert (heard[0], heard[1]["session"], heard[1]["failed_share"]) == ("success", session, 0.0)

    def test_a_token_alone_is_a_token(self, service: StepFunctions) -> None:
        """An invocation that AWS makes twice is one session."""
        service.task("token-2")
        asked = {"function": SQUARE, "events": [1], "task_token": "token-2"}
        assert submit_tasks.handler(asked, None)["session"] == submit_tasks.handler(asked, None)["session"]

    def test_a_message_that_is_refused(self, service: StepFunctions, caplog: pytest.LogCaptureFixture) -> None:
        """Its task is told, and the message is done; a task that does not hear it leaves the message."""
        for token in ("token-3", "token-4"):
            service.task(token)
        messages = [json.dumps({"function": SQUARE, "task_token": token}) for token in ("token-3", "token-4", "none")]
        service.instead.extend(["", "ThrottlingException"])
        event = lambda_events.sqs(messages)
        failed = submit_tasks.handler(event, None)["batchItemFailures"]
        assert [one["itemIdentifier"] for one in failed] == [event["Records"][at]["messageId"] for at in (1, 2)]
        heard = service.task("token-3").told
        assert heard is not None
        assert heard[0] == "HTCGrid.SubmissionRefused"
        assert "either events or events_uri" in heard[1]["reason"]
        assert not {"token-3", "token-4"} & set(caplog.text.split())
