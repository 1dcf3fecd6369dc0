"""Rules: what happens in AWS becomes sessions, once each, however often it is brought and by whatever way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from htcgrid_core import Grid, GridUnavailable, InvalidInput
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.cloud.registry import add_place, add_rule, made
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import SessionConflict
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.place import Place
from htcgrid_core.domain.rule import Rule
from htcgrid_core.lambdas.served import served
from htcgrid_core.lambdas.submit_on_event import handler
from htcgrid_core.services import submit
from tests.aws import lambda_events, rule_events
from tests.aws.emulators import Account
from tests.aws.lambda_grid import live
from tests.aws.lambda_permissions import allowed, recorded

DOUBLE = "tests.e2e.handlers.double"
QUEUE = f"arn:aws:sqs:eu-west-1:{lambda_events.ACCOUNT}:asked"


@pytest.fixture(autouse=True)
def no_rules(here: CloudPlane) -> Iterator[None]:
    yield
    for rule in here.registry.rules():
        assert here.registry.remove_rule(rule.rule)


def rule(here: CloudPlane, source: str, name: str = "books", **asked: Any) -> Rule:
    """Registered, for tenant ``fx``."""
    wanted = made(Rule, **{"rule": name, "source": source, "function": DOUBLE, "tenant": "fx", **asked})
    add_rule(here, wanted)
    return wanted


def put(account: Account, bucket: str, key: str, body: bytes) -> str:
    """Write an object; its ETag."""
    return str(account.s3().put_object(Bucket=bucket, Key=key, Body=body)["ETag"]).strip('"')


def events_of(answer: Any) -> list[Any]:
    """Those of the one session that came of it."""
    (one,) = answer["sessions"]
    session = served().grid.session(one["session"])
    assert (session.spec.tenant, session.labels["rule"]) == ("fx", one["rule"])
    return list(session.events())


class TestObjects:
    def test_brought_by_any_way_is_one_session(self, here: CloudPlane, bucket: str, account: Account) -> None:
        rule(here, f"s3://{bucket}/drop/")
        etag = put(account, bucket, "drop/day one.jsonl", b"1\n2\n")
        directly = rule_events.notification(bucket, "drop/day one.jsonl", etag)
        by_bus = rule_events.created(bucket, "drop/day one.jsonl", etag)
        answer = handler(directly, None)
        assert events_of(answer) == [1, 2]
        before = live(here)
        assert handler(directly, None) == handler(by_bus, None) == answer
        topic = json.dumps({"Type": "Notification", "Message": json.dumps(directly)})
        queued = lambda_events.sqs([json.dumps(directly), json.dumps(by_bus), topic], queue="notified")
        assert handler(queued, None) == {"batchItemFailures": []}
        by_topic = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": {"Message": json.dumps(directly)}}
        assert handler({"Records": [by_topic]}, None) == answer
        assert live(here) == before

    def test_each_version_is_one(self, here: CloudPlane, bucket: str, account: Account) -> None:
        """Of the vector that stood in it, also if it is brought late."""
        account.s3().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        rule(here, f"s3://{bucket}/drop/")
        found = [account.s3().put_object(Bucket=bucket, Key="drop/a.jsonl", Body=body) for body in (b"1\n", b"2\n")]
        brought = [
            rule_events.notification(bucket, "drop/a.jsonl", one["ETag"].strip('"'), version_id=one["VersionId"])
            for one in found
        ]
        assert [events_of(handler(one, None)) for one in brought] == [[1], [2]]

    def test_written_again_with_the_same_bytes_is_another(
        self, here: CloudPlane, bucket: str, account: Account
    ) -> None:
        rule(here, f"s3://{bucket}/drop/")
        etag = put(account, bucket, "drop/again.jsonl", b"1\n")
        both = [
            handler(rule_events.created(bucket, "drop/again.jsonl", etag, sequencer=sequencer), None)
            for sequencer in ("0A", "0B")
        ]
        assert both[0] != both[1]

    def test_replaced_before_it_was_looked_at(self, here: CloudPlane, bucket: str, untouched: None) -> None:
        """Its successor is brought, too."""
        rule(here, f"s3://{bucket}/drop/")
        served().cloud.clients.s3.put_object(Bucket=bucket, Key="drop/b.jsonl", Body=b"2\n")
        assert handler(rule_events.notification(bucket, "drop/b.jsonl", "0" * 32), None) == {"sessions": []}
        assert handler(rule_events.notification(bucket, "drop/none.jsonl", "0" * 32), None) == {"sessions": []}

    def test_about_objects(self, here: CloudPlane, bucket: str, account: Account) -> None:
        rule(here, f"s3://{bucket}/drop/", about="object")
        brought = rule_events.created(bucket, "drop/c.bin", "abc", version_id="7")
        told = {"bucket": bucket, "key": "drop/c.bin", "version_id": "7", "etag": "abc", "size": 3}
        assert events_of(handler(brought, None)) == [told]

    def test_what_starts_none(
        self, here: CloudPlane, bucket: str, untouched: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Elsewhere, a folder, a deletion, a result, S3's own test."""
        rule(here, f"s3://{bucket}/drop/")
        deleted = rule_events.notification(bucket, "drop/a.jsonl", "x")
        deleted["Records"][0]["eventName"] = "ObjectRemoved:Delete"
        for event in (
            rule_events.notification(bucket, "other/a.jsonl", "x"), rule_events.notification(bucket, "drop/", "x"),
            rule_events.created("another", "drop/a.jsonl", "x"), deleted,
        ):  # fmt: skip
            assert handler(event, None) == {"sessions": []}
        assert caplog.text.count("no rule takes this event") == 2, "of those elsewhere alone"
        tested = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket})
        assert handler(lambda_events.sqs([tested]), None) == {"batchItemFailures": []}

    def test_results_that_were_listed_at_the_same_moment(self, here: CloudPlane, bucket: str, untouched: None) -> None:
        here.registry.put_place(Place(prefix=f"s3://{bucket}/race/", use="results"))
        here.registry.put_rule(Rule(rule="race", source=f"s3://{bucket}/", function=DOUBLE))
        assert handler(rule_events.notification(bucket, "race/a.jsonl", "x"), None) == {"sessions": []}

    def test_what_is_no_vector(self, here: CloudPlane, bucket: str, account: Account, untouched: None) -> None:
        rule(here, f"s3://{bucket}/drop/")
        etag = put(account, bucket, "drop/bad.jsonl", b"1\n{\n")
        brought = rule_events.notification(bucket, "drop/bad.jsonl", etag)
        with pytest.raises(InvalidInput, match=r"bad\.jsonl, line 2"):
            handler(brought, None)
        assert len(handler(lambda_events.sqs([json.dumps(brought)]), None)["batchItemFailures"]) == 1


class TestBus:
    def test_an_event_is_one_session(self, here: CloudPlane, grid: Grid) -> None:
        rule(here, "events:orders/Order Placed", path="detail.trades", priority="high", max_failures=0.5)
        event = rule_events.bus("orders", "Order Placed", {"trades": [{"n": 1}, {"n": 2}]})
        answer = handler(event, None)
        assert events_of(answer) == [{"n": 1}, {"n": 2}]
        assert handler(event, None) == answer
        spec = grid.session(answer["sessions"][0]["session"]).spec
        assert (spec.priority, spec.max_failures) == ("high", 0.5)
        assert handler(rule_events.bus("orders", "Order Placed", {"trades": []}, 2), None) != answer
        assert handler(rule_events.bus("orders", "Order Withdrawn", {}), None) == {"sessions": []}
        with pytest.raises(InvalidInput, match=r"looks for detail\.trades"):
            handler(rule_events.bus("orders", "Order Placed", {}, 3), None)

    def test_several_rules_take_one(self, here: CloudPlane) -> None:
        rule(here, "events:orders", "all")
        rule(here, "events:orders/Order Placed", "placed")
        event = rule_events.bus("orders", "Order Placed", {"n": 1})
        sessions = handler(event, None)["sessions"]
        assert [one["rule"] for one in sessions] == ["all", "placed"]
        assert len({one["session"] for one in sessions}) == 2

    def test_a_rule_that_fails_keeps_no_other_from_its_sessions(self, here: CloudPlane) -> None:
        """Neither of an event nor of a message, whatever comes first."""
        rule(here, "events:orders", "a-first", path="detail.trades")
        rule(here, "events:orders", "b-removed", function="nosuch")
        rule(here, "events:orders", "c-last")
        before = live(here)
        with pytest.raises(InvalidInput, match=r"a-first looks for detail\.trades"):
            handler(rule_events.bus("orders", "Order Placed", {"n": 1}, 20), None)
        assert len(live(here) - before) == 1
        queued = lambda_events.sqs([json.dumps(rule_events.bus("orders", "Order Placed", {}, 21))], queue="notified")
        for _ in range(2):
            assert len(handler(queued, None)["batchItemFailures"]) == 1
            assert len(live(here) - before) == 2

    def test_a_rule_that_has_changed(self, here: CloudPlane) -> None:
        """What came before it did stays what it was."""
        event = rule_events.bus("orders", "Order Placed", {"n": 1}, 9)
        rule(here, "events:orders")
        answer = handler(event, None)
        rule(here, "events:orders", path="detail")
        assert handler(event, None) == answer

    def test_a_rule_that_has_changed_after_a_submission_died(
        self, here: CloudPlane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It comes again until nothing of the first try is left, and is submitted as the rule says by then."""
        event = rule_events.bus("orders", "Order Placed", {"n": 1}, 30)
        rule(here, "events:orders")
        with monkeypatch.context() as patch:
            patch.setattr(submit, "WHOLE_BUNDLES", 0)
            patch.setattr(submit, "_write", _die)
            with pytest.raises(GridUnavailable, match="killed"):
                handler(event, None)
        rule(here, "events:orders", path="detail", priority="high")
        with pytest.raises(SessionConflict):
            handler(event, None)
        (begun,) = [one for one in here.plane.store.live_sessions() if one.state == "SUBMITTED"]
        here.plane.store.advance(
            begun.session_id, SessionEvent.ABORT, now=here.plane.clock.now(), actor="reconciler", reason="abandoned"
        )
        assert events_of(handler(event, None)) == [{"n": 1}]


def _die(*_: object) -> None:
    raise GridUnavailable("killed while it wrote")


class TestMessages:
    def test_each_is_one_session(self, here: CloudPlane) -> None:
        rule(here, QUEUE)
        before = live(here)
        event = lambda_events.sqs([json.dumps([1, 2]), "{", json.dumps({"n": 1})])
        for _ in range(2):
            failed = handler(event, None)["batchItemFailures"]
            assert failed == [{"itemIdentifier": event["Records"][1]["messageId"]}]
            assert len(live(here) - before) == 2

    def test_none_is_lost_that_no_rule_takes(self, here: CloudPlane, untouched: None) -> None:
        rule(here, QUEUE)
        stray = json.dumps(rule_events.bus("orders", "Order Placed", {}))
        event = lambda_events.sqs([json.dumps([1]), stray], queue="another")
        assert len(handler(event, None)["batchItemFailures"]) == 2


class TestRecords:
    def test_a_batch_is_one_session(self, here: CloudPlane) -> None:
        rule(here, rule_events.STREAM, path="trade")
        batch = rule_events.records([{"trade": 1}, {"trade": [2]}])
        answer = handler(batch, None)
        assert events_of(answer) == [1, [2]]
        assert handler(batch, None) == answer
        others = [rule_events.records([{"trade": 3}], first=2), rule_events.records([{"trade": 1}] * 2, shard=1)]
        assert len({handler(one, None)["sessions"][0]["session"] for one in (batch, *others)}) == 3

    def test_what_cannot_be_taken_is_refused(self, here: CloudPlane, untouched: None) -> None:
        batch = rule_events.records([1])
        with pytest.raises(InvalidInput, match="no rule takes records"):
            handler(batch, None)
        rule(here, rule_events.STREAM)
        batch["Records"][0]["kinesis"]["data"] = "e30x"
        with pytest.raises(InvalidInput, match="is not JSON"):
            handler(batch, None)


@pytest.mark.parametrize("event", [{}, {"Records": []}, {"Records": [{"eventSource": "aws:ses"}]}, {"Records": 7}])
def test_what_is_no_event(here: CloudPlane, event: Any) -> None:
    with pytest.raises(InvalidInput, match="no event of S3"):
        handler(event, None)


class TestRegistering:
    def test_results_may_not_start_sessions(self, here: CloudPlane, bucket: str) -> None:
        """Whichever comes first, and whichever lies in the other. ``out/`` is a place for results."""
        for source in (f"s3://{bucket}/", f"s3://{bucket}/out/", f"s3://{bucket}/out/deeper/"):
            with pytest.raises(InvalidInput, match="would start sessions"):
                rule(here, source)
        rule(here, f"s3://{bucket}/drop/")
        for prefix in (f"s3://{bucket}/", f"s3://{bucket}/drop/", f"s3://{bucket}/drop/results/"):
            with pytest.raises(InvalidInput, match="would start sessions"):
                add_place(here, Place(prefix=prefix, use="results"))
        add_place(here, Place(prefix=f"s3://{bucket}/drop/", use="events"))

    def test_nor_may_ends_of_sessions(self, here: CloudPlane, grid: Grid) -> None:
        bus = f"arn:aws:events:eu-west-1:{lambda_events.ACCOUNT}:event-bus/main"
        for name, target in (("asked", QUEUE), ("main", bus)):
            grid.gateway.add_destination(Destination(name=name, target=target))
        for source, name in ((QUEUE, "asked"), ("events:htcgrid", "main")):
            with pytest.raises(InvalidInput, match="would start its sessions again"):
                rule(here, source, notify=[name])
        rule(here, "events:htcgrid/HTCGrid Session Completed", "chained", notify=["asked"])
        with pytest.raises(InvalidInput, match="rule chained: what destination 'asked' is told"):
            grid.gateway.add_destination(Destination(name="asked", target=bus))
        assert next(one.target for one in grid.gateway.destinations() if one.name == "asked") == QUEUE

    def test_no_rule_changes_its_tenant(self, here: CloudPlane) -> None:
        """What came before would be another session."""
        rule(here, "events:orders", "orders")
        with pytest.raises(InvalidInput, match="is tenant fx's"):
            rule(here, "events:orders", "orders", tenant="rates")
        assert [one.tenant for one in here.registry.rules()] == ["fx"]

    def test_nothing_of_the_grids_own(self, here: CloudPlane) -> None:
        own = here.parameter.queues["default"].normal.rpartition("/")[2]
        with pytest.raises(InvalidInput, match="of the grid's own"):
            rule(here, f"arn:aws:sqs:eu-west-1:{lambda_events.ACCOUNT}:{own}")
        for add in (
            lambda: rule(here, f"s3://{here.parameter.bucket}/in/"),
            lambda: add_place(here, Place(prefix=f"s3://{here.parameter.bucket}/in/", use="events")),
        ):
            with pytest.raises(InvalidInput, match="the grid's own bucket"):
                add()

    @pytest.mark.parametrize(
        "asked",
        [
            {"source": "s3://books/in"}, {"source": "books"}, {"source": "events:"}, {"source": "arn:aws:sns:a:1:b"},
            {"source": QUEUE, "pool": "none"}, {"source": QUEUE, "notify": ["nobody"]}, {"source": QUEUE, "timeout": 0},
            {"source": QUEUE, "format": "csv"}, {"source": "s3://books/in/", "path": "a"}, {"source": QUEUE, "name": 7},
        ],
    )  # fmt: skip
    def test_what_is_refused(self, here: CloudPlane, asked: Any) -> None:
        with pytest.raises(InvalidInput):
            rule(here, **asked)
        assert here.registry.rules() == []


def test_what_it_may_do_is_what_it_does(here: CloudPlane, bucket: str, account: Account) -> None:
    rule(here, f"s3://{bucket}/drop/")
    rule(here, QUEUE, "asked")
    lines = "\n".join(json.dumps("x" * 9000) for _ in range(40)).encode()
    etag = put(account, bucket, "drop/large.jsonl", lines)
    with recorded(here, {"drop/": "sources of rules"}) as made_calls:
        for _ in range(2):
            handler(rule_events.notification(bucket, "drop/large.jsonl", etag), None)
        handler(lambda_events.sqs([json.dumps([1])], queue="asked"), None)
    assert ("s3:GetObject", "sources of rules") in made_calls
    assert made_calls <= allowed("submit_on_event"), made_calls - allowed("submit_on_event")


class TestCommands:
    def _run(self, *arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(cli, [*arguments, "--url", os.environ["HTCGRID_URL"]])
        return done.exit_code, done.stdout, done.stderr

    def test_rules(self, here: CloudPlane) -> None:
        asked = ("books", "s3://desk/in/", DOUBLE, "--tenant", "fx", "--max-failures", "1%", "--label", "desk=fx")
        assert self._run("rules", "add", *asked) == (0, "", "rule books is registered\n")
        code, out, _ = self._run("rules", "list", "--json")
        assert (code, json.loads(out)) == (
            0,
            {
                "rule": "books", "source": "s3://desk/in/", "function": DOUBLE, "name": "books", "tenant": "fx",
                "max_failures": 0.01, "labels": {"desk": "fx"},
            },
        )  # fmt: skip
        assert "s3://desk/in/" in self._run("rules", "list")[1]
        code, _, err = self._run("rules", "add", "books", "s3://desk/in", DOUBLE)
        assert (code, "a prefix of S3 ends with a slash" in err) == (2, True)
        assert self._run("rules", "remove", "books") == (0, "", "rule books is removed\n")
        assert self._run("rules", "remove", "books")[2] == "there is no rule books\n"
        assert self._run("rules", "list")[2] == "no rule is registered\n"

    def test_places(self, here: CloudPlane) -> None:
        asked = ("s3://desk/made/", "--for", "results", "--tenant", "fx")
        assert self._run("places", "add", *asked)[0] == 0
        listed = [json.loads(line) for line in self._run("places", "list", "--json")[1].splitlines()]
        assert {"prefix": "s3://desk/made/", "for": "results", "tenant": "fx"} in listed
        assert self._run("rules", "add", "loop", "s3://desk/", DOUBLE)[0] == 2
        assert self._run("places", "remove", *asked) == (0, "", "s3://desk/made/ is removed\n")
        assert "is no place" in self._run("places", "remove", *asked)[2]
        assert self._run("places", "add", "desk/made", "--for", "results")[0] == 2

    @pytest.mark.parametrize("command", ["rules", "places"])
    def test_on_aws_alone(self, command: str) -> None:
        done = CliRunner().invoke(cli, [command, "list", "--url", "local://"])
        assert done.exit_code == 2
        assert f"only grids on AWS have {command}" in done.stderr
