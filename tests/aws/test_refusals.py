"""What AWS refuses is one sentence, in Python and on the command line, before anything is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from htcgrid_core import GridError, connect
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from tests.aws.emulators import Account
from tests.aws.grids import NAME, CloudUnderTest, cloud, url_of
from tests.chaos.faults import Faults, Rule, faulty

pytestmark = pytest.mark.slow  # each takes a grid of its own, behind two proxies

DOUBLE = "tests.e2e.handlers.double"
LARGE = "x" * 20_000  # an event that goes to S3
SAID = "User: arn:aws:iam::123456789012:user/desk is not authorized to perform: "


@pytest.fixture(scope="module")
def faults(ministack_url: str) -> Iterator[Faults]:
    with faulty(Account(ministack_url), 1) as faults:
        yield faults


@pytest.fixture
def grid(faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudUnderTest]:
    """A grid of its own, whose calls are refused by the rules that a test gives."""
    with cloud(Account(faults.account.url), tmp_path, monkeypatch) as found:
        yield found
    faults.begin(())


def refuse(service: str, code: str, said: str, status: int = 400, operation: str | None = None) -> Rule:
    rule: Rule = {"service": service, "error": {"code": code, "message": said, "status": status}}
    return rule if operation is None else {**rule, "operation": operation}


EXPIRED = "The security token included in the request is expired"


@pytest.mark.parametrize(
    ("rule", "code", "says"),
    [
        (refuse("*", "ExpiredTokenException", EXPIRED), 3, "expired.*aws sso login"),
        (refuse("dynamodb", "ExpiredTokenException", EXPIRED), 3, "DynamoDB table.*expired.*aws sso login"),
        (refuse("s3", "ExpiredToken", EXPIRED), 3, "S3 bucket.*expired.*aws sso login"),
        (refuse("*", "UnrecognizedClientException", "The security token is invalid"), 3, "not valid.*renew"),
        (refuse("ssm", "AccessDeniedException", SAID + "ssm:GetParameter"), 3, "ssm:GetParameter.*permission"),
        (refuse("dynamodb", "AccessDeniedException", SAID + "dynamodb:PutItem"), 3, "dynamodb:PutItem.*permission"),
        (refuse("sqs", "AccessDeniedException", SAID + "sqs:SendMessage"), 3, "SQS queue.*sqs:SendMessage.*permission"),
        (refuse("s3", "AccessDenied", SAID + "s3:PutObject", 403), 3, "S3 bucket.*s3:PutObject.*permission"),
        (refuse("dynamodb", "ResourceNotFoundException", "no table"), 2, "DynamoDB table.*does not exist.*bootstrap"),
        (refuse("sqs", "AWS.SimpleQueueService.NonExistentQueue", "no queue"), 2, "SQS queue.*does not exist"),
        (refuse("s3", "NoSuchBucket", "no bucket", 404), 2, "S3 bucket.*does not exist.*bootstrap"),
        (refuse("dynamodb", "ThrottlingException", "too many"), 3, "DynamoDB table.*throttles.*try again"),
    ],
    ids=lambda value: "-".join(value["error"]["code"].split(".")[-1:]) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_refused_submit(
    grid: CloudUnderTest, faults: Faults, tmp_path: Path, rule: Rule, code: int, says: str
) -> None:
    sound = open_cloud(parse_aws(url_of(Account(faults.upstream, grid.account.id))))
    faults.begin([rule])
    with pytest.raises(GridError, match=says) as caught, connect(grid.url) as connected:
        connected.submit(DOUBLE, [LARGE])
    assert_one_sentence(str(caught.value))
    (tmp_path / "events.jsonl").write_text(f'"{LARGE}"\n')
    events = str(tmp_path / "events.jsonl")
    ran = CliRunner().invoke(cli, ["submit", DOUBLE, "--events", events, "--url", grid.url])
    assert ran.exit_code == code, ran.output
    assert ran.stderr.startswith("Error: ")
    assert_one_sentence(ran.stderr.strip())
    faults.begin(())
    assert_nothing_written(sound)


class Elsewhere(BaseHTTPRequestHandler):
    """Answers with a page of HTML that this is not supported."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: stderr is the command's."""


def test_an_endpoint_that_is_not_aws(grid: CloudUnderTest) -> None:
    """But a web server of somebody else's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"aws://{NAME}?region=eu-west-1&endpoint=http://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(GridError, match=r"SSM parameter.*AWS_ENDPOINT_URL") as caught:
            connect(url)
        assert_one_sentence(str(caught.value))
        ran = CliRunner().invoke(cli, ["sessions", "--url", url])
        assert ran.exit_code in (2, 3), ran.output
        assert_one_sentence(ran.stderr.strip())
    finally:
        server.shutdown()
        server.server_close()


def assert_one_sentence(text: str) -> None:
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text) < 500


def assert_nothing_written(sound: CloudPlane) -> None:
    """Neither in the table nor in the bucket."""
    assert sound.plane.store.sessions(sound.plane.clock.now()) == []
    assert sound.plane.blobs.keys("sessions/") == []
