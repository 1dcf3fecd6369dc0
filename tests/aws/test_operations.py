"""Bootstrap and teardown, the reconciler, dead letters, and what is said when something is wrong."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber
from click.testing import CliRunner, Result

from htcgrid_core import Grid, GridError, UnknownGrid, connect
from htcgrid_core.adapters.aws.parameter import key_name, parameter_name, read_parameter
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import Address, parse_aws
from htcgrid_core.cloud.bootstrap import bootstrap, teardown
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.cloud.reconcile import tick
from htcgrid_core.domain.errors import AccessDenied, IncompatibleGrid, InvalidInput
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.services.dead_letters import MAX_REDRIVES
from tests.aws.emulators import Account
from tests.aws.grids import NAME, CloudUnderTest, clients_of, settings_of, url_of
from tests.e2e.support import ended, eventually
from tests.planes import plane_of

DOUBLE = "tests.e2e.handlers.double"


@pytest.fixture
def keys(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without a grid, whose keys are in the environment."""
    for name, value in aws_account.environment.items():
        monkeypatch.setenv(name, value)
    return aws_account


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "aws://book", "aws://book?region=eu-west-1", "aws://b-1?profile=desk&retries=adaptive&connections=4",
            "aws://book?endpoint=http://127.0.0.1:4566&role=arn:aws:iam::123456789012:role/grid/user",
        ],
    )  # fmt: skip
    def test_comes_back_as_it_went(self, url: str) -> None:
        address = parse_aws(url)
        assert parse_aws(address.url) == address

    @pytest.mark.parametrize(
        "url",
        [
            "aws:", "aws:book", "aws://", "aws:///book", "aws://Book", "aws://book/x", "aws://1book", "aws://book#x",
            "aws://" + "b" * 25, "aws://book?region=", "aws://book?region=here", "aws://book?speed=3", "aws://a_b",
            "aws://book?endpoint=file:///etc/passwd", "aws://book?role=me", "aws://book?connections=0", "aws://[",
        ],
    )  # fmt: skip
    def test_names_nothing(self, url: str) -> None:
        with pytest.raises(UnknownGrid) as caught:
            connect(url)
        assert repr(url) in str(caught.value)


class TestBootstrap:
    def test_may_be_repeated_and_adds_pools(self, keys: Account) -> None:
        address = Address(NAME, settings_of(keys))
        first = bootstrap(address, ["default"], agents=4)
        secret = open_cloud(address).plane.keys.signer()
        second = bootstrap(address, ["big"])
        assert list(second.queues) == ["default", "big"]
        assert second.defaults.agents == 4
        assert second.queues["default"] == first.queues["default"]
        assert open_cloud(address).plane.keys.signer() == secret

    def test_how_long_tenants_sessions_are_kept(
        self, keys: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a file says, until another one does; one that is no good is told before anything is made."""
        monkeypatch.delenv("HTCGRID_RETENTION", raising=False)
        address, file = Address(NAME, settings_of(keys)), tmp_path / "retention.json"

        def made(*options: str) -> Result:
            return CliRunner().invoke(cli, ["aws", "bootstrap", address.url, *options])

        file.write_text('{"rates": {"default_days": 90}}')
        refused = made("--retention", str(file))
        assert refused.exit_code != 0
        assert "above the 60 permitted" in refused.output
        with pytest.raises(UnknownGrid):
            open_cloud(address)
        file.write_text('{"*": {"default_days": 14}, "rates": {"default_days": 90, "max_days": 3650}}')
        for options in (("--retention", str(file)), ("--pool", "big")):
            assert made(*options).exit_code == 0
            rules = open_cloud(address).plane.retention()
            assert (rules.days_of("rates"), rules.days_of("credit")) == ((90, 3650), (14, 60))
        file.write_text("{}")
        assert made("--retention", str(file)).exit_code == 0
        assert open_cloud(address).plane.retention().days_of("rates") == (7, 60)

    def test_what_it_makes_is_private(self, aws_cloud: CloudUnderTest) -> None:
        account = aws_cloud.account
        bucket = open_cloud(parse_aws(aws_cloud.url)).parameter.bucket
        s3 = account.s3()
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert [rule["Filter"]["Prefix"] for rule in rules] == ["incoming/"]
        ssm: Any = account.session().client("ssm", endpoint_url=account.url)
        assert ssm.get_parameter(Name=key_name(NAME))["Parameter"]["Type"] == "SecureString"
        assert ssm.get_parameter(Name=parameter_name(NAME))["Parameter"]["Type"] == "String"

    def test_teardown_removes_everything_and_asks_first(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_grid.put(b"x" * 100)
        asked = CliRunner().invoke(cli, ["aws", "teardown", aws_cloud.url], input="n\n")
        assert asked.exit_code == 1
        connect(aws_cloud.url).close()
        removed = CliRunner().invoke(cli, ["aws", "teardown", aws_cloud.url, "--yes", "--json"])
        assert removed.exit_code == 0, removed.output
        assert len(json.loads(removed.stdout)["removed"]) == 12  # 8 queues, table, bucket, 2 parameters
        account = aws_cloud.account
        assert account.sqs().list_queues().get("QueueUrls", []) == []
        assert account.dynamodb().list_tables()["TableNames"] == []
        with pytest.raises(UnknownGrid):
            connect(aws_cloud.url)
        teardown(Address(NAME, settings_of(account)))

    @pytest.mark.parametrize("pool", ["", "Big", "-x", "a/b", "p" * 33])
    def test_a_pool_that_cannot_be(self, keys: Account, pool: str) -> None:
        with pytest.raises(InvalidInput):
            bootstrap(Address(NAME, settings_of(keys)), [pool])


class TestReconciler:
    def test_as_a_command(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        session = aws_grid.submit(DOUBLE, range(4), timeout=0.01)
        eventually(lambda: time.time() > session.progress().submitted_at + 0.01, "its deadline passed")
        ran = aws_cloud.run("reconcile", "--json")
        assert json.loads(ran.stdout)["ended"] == 1, ran.stderr
        assert session.progress().state == "FAILED"


class TestDeadLetters:
    def _dead_letter(self, cloud: CloudUnderTest, *bodies: str) -> None:
        dead = open_cloud(parse_aws(cloud.url)).parameter.queues["default"].dead
        for body in bodies:
            cloud.account.sqs().send_message(QueueUrl=dead, MessageBody=body)

    def test_are_sent_again_then_their_tasks_fail(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        session = aws_grid.submit(DOUBLE, range(4), bundle_size=2)
        hint = Hint(session.id, "00000000")
        cloud = open_cloud(parse_aws(aws_cloud.url))
        for redrives in range(MAX_REDRIVES):
            self._dead_letter(aws_cloud, messages.write(hint, redrives))
            assert tick(cloud).dead_letters.redriven == 1
        self._dead_letter(aws_cloud, messages.write(hint, MAX_REDRIVES), "nobody's")
        done = tick(cloud).dead_letters
        assert (done.failed, done.dropped) == (1, 1)
        failed = list(session.tasks("FAILED"))
        assert [task.index for task in failed] == [0, 1]
        assert {task.error.type for task in failed if task.error} == {"DeadLettered"}
        assert "dead-letter queue of pool 'default'" in failed[0].error.message  # type: ignore[union-attr]
        aws_cloud.start_agent()
        assert (ended(session).state, ended(session).completed) == ("FAILED", 2)
        self._dead_letter(aws_cloud, messages.write(hint, MAX_REDRIVES))
        assert tick(cloud).dead_letters.dropped == 1, "its bundle is done"
        assert cloud.dead_letters.count("default") == 0
        cloud.close()

    def test_a_message_that_nobody_finishes_with_dies(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        """SQS moves it by itself; here after two receives, so that the test ends."""
        cloud = open_cloud(parse_aws(aws_cloud.url))
        queues, sqs = cloud.parameter.queues["default"], aws_cloud.account.sqs()
        policy = json.loads(
            sqs.get_queue_attributes(QueueUrl=queues.normal, AttributeNames=["RedrivePolicy"])["Attributes"][
                "RedrivePolicy"
            ]
        )
        assert int(policy["maxReceiveCount"]) == 100
        sqs.set_queue_attributes(
            QueueUrl=queues.normal, Attributes={"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 2})}
        )
        aws_grid.submit(DOUBLE, range(2), bundle_size=2)

        def receive() -> int:
            sqs.receive_message(QueueUrl=queues.normal, VisibilityTimeout=0, WaitTimeSeconds=0)
            return cloud.dead_letters.count("default")

        assert eventually(receive, "it is dead") == 1

    def test_by_hand(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        session = aws_grid.submit(DOUBLE, range(2), bundle_size=2)
        for url in aws_cloud.account.sqs().list_queues()["QueueUrls"]:
            aws_cloud.account.sqs().purge_queue(QueueUrl=url)
        self._dead_letter(aws_cloud, messages.write(Hint(session.id, "00000000")), "nobody's")
        listed = aws_cloud.run("dlq", "list", "--json")
        views = [json.loads(line) for line in listed.stdout.splitlines()]
        assert {view["session"] for view in views} == {session.id, None}, listed.stderr
        assert session.id in aws_cloud.run("dlq", "list").stdout
        redriven = eventually(lambda: json.loads(aws_cloud.run("dlq", "redrive", "--json").stdout)["redriven"], "one")
        assert redriven == 1
        aws_cloud.start_agent()
        assert ended(session).state == "COMPLETED"

    def test_the_embedded_grid_has_none(self, tmp_path: Path) -> None:
        ran = CliRunner().invoke(cli, ["dlq", "list", "--url", f"local://{tmp_path}"])
        assert ran.exit_code == 2
        assert "aws://NAME" in ran.stderr


class TestTrouble:
    """One clear sentence, and what to do, before anything is written."""

    def test_no_such_grid(self, keys: Account) -> None:
        with pytest.raises(UnknownGrid, match="htcgrid aws bootstrap nobody"):
            connect(url_of(keys, "nobody"))

    def test_wrong_region(self, aws_cloud: CloudUnderTest) -> None:
        with pytest.raises(UnknownGrid, match=r"no grid 'book' in us-east-1.*region"):
            connect(aws_cloud.url.replace("eu-west-1", "us-east-1"))

    def test_no_region(self, keys: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(UnknownGrid, match=r"no AWS region is set.*aws://NAME"):
            connect("aws://book")

    def test_no_credentials(self, keys: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(AccessDenied, match=r"credentials.*AWS_PROFILE"):
            connect(url_of(keys))

    def test_no_such_profile(self, keys: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(UnknownGrid, match="desk"):
            connect("aws://book?region=eu-west-1&profile=desk")

    def test_a_missing_permission(self, aws_account: Account) -> None:
        """In AWS's own words; tests/aws/test_roles.py has an emulator that enforces permissions."""
        clients = clients_of(aws_account)
        said = "User: arn:aws:iam::123456789012:user/desk is not authorized to perform: ssm:GetParameter"
        with Stubber(clients.ssm) as ssm:
            ssm.add_client_error("get_parameter", "AccessDeniedException", said, http_status_code=400)
            with pytest.raises(AccessDenied, match=r"SSM parameter /htcgrid/book.*ssm:GetParameter.*permission"):
                read_parameter(clients, NAME)

    def test_nobody_answers(self, keys: Account) -> None:
        with pytest.raises(GridError, match="cannot be reached"):
            connect("aws://book?region=eu-west-1&endpoint=http://127.0.0.1:9")

    def test_a_deleted_table(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.account.dynamodb().delete_table(TableName="htcgrid-book")
        with pytest.raises(UnknownGrid, match=r"DynamoDB table htcgrid-book.*does not exist"):
            aws_grid.submit(DOUBLE, [1])
        agent = aws_cloud.start_agent()
        assert agent.wait(timeout=60) == 2
        assert "DynamoDB table htcgrid-book" in aws_cloud.logs()
        assert "Traceback" not in aws_cloud.logs()

    def test_another_versions_grid(self, aws_cloud: CloudUnderTest) -> None:
        ssm: Any = aws_cloud.account.session().client("ssm", endpoint_url=aws_cloud.account.url)
        for value in ("", "{", '{"version":2}', "[]"):
            ssm.put_parameter(Name=parameter_name(NAME), Value=value or " ", Type="String", Overwrite=True)
            with pytest.raises(IncompatibleGrid, match="/htcgrid/book"):
                connect(aws_cloud.url)

    def test_a_key_that_is_none_is_not_told(self, aws_cloud: CloudUnderTest) -> None:
        ssm: Any = aws_cloud.account.session().client("ssm", endpoint_url=aws_cloud.account.url)
        ssm.put_parameter(Name=key_name(NAME), Value="hunter2-is-no-hex", Type="SecureString", Overwrite=True)
        with pytest.raises(IncompatibleGrid) as caught:
            connect(aws_cloud.url)
        assert "hunter2" not in str(caught.value)

    def test_an_agent_of_no_pool(self, aws_cloud: CloudUnderTest) -> None:
        agent = aws_cloud.start_agent("--pool", "huge")
        assert agent.wait(timeout=60) == 2
        assert "default, big" in aws_cloud.logs()

    def test_an_agent_tells_no_secret(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        agent = aws_cloud.start_agent()
        assert list(aws_grid.submit(DOUBLE, [1]).results()) == [2]
        agent.send_signal(signal.SIGINT)
        assert agent.wait(timeout=30) == 0
        assert plane_of(aws_grid).keys.signer().secret.hex() not in aws_cloud.logs() + repr(plane_of(aws_grid))


def test_an_agent_does_not_work_with_a_cache_that_others_may_write_to(
    aws_cloud: CloudUnderTest, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / NAME).mkdir()
    (tmp_path / "shared" / NAME).chmod(0o777)
    ran = aws_cloud.run("agent", HTCGRID_CACHE=str(tmp_path / "shared"))
    assert ran.returncode == 3, ran.stderr
    assert f"other users may write to {tmp_path}/shared/{NAME} (mode 777)" in ran.stderr
    assert "HTCGRID_CACHE" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_grids_bucket_is_its_own_accounts_and_is_not_used_without_tls(aws_cloud: CloudUnderTest) -> None:
    parameter = read_parameter(clients_of(aws_cloud.account), NAME)
    s3 = aws_cloud.account.s3()
    policy = json.loads(s3.get_bucket_policy(Bucket=parameter.bucket)["Policy"])
    (statement,) = policy["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {resource.rpartition(":")[2] for resource in statement["Resource"]} == {
        parameter.bucket, f"{parameter.bucket}/*"
    }  # fmt: skip
    assert parameter.account == clients_of(aws_cloud.account).sts.get_caller_identity()["Account"]


def test_every_call_of_the_bucket_says_whose_it_is(aws_cloud: CloudUnderTest) -> None:
    """A bucket that was deleted may be made again by somebody else."""
    cloud = open_cloud(parse_aws(aws_cloud.url))
    asked: dict[str, set[str]] = {}

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        owners = {name: value for name, value in params.items() if name.startswith("Expected")}
        assert set(owners.values()) == {cloud.parameter.account}, model.name
        asked.setdefault(model.name, set()).update(owners)

    clients = cloud.plane.blobs._clients  # type: ignore[attr-defined]
    clients.s3.meta.events.register("provide-client-params.s3", note)
    blobs = cloud.plane.blobs
    blobs.put("shared/x", b"x")
    blobs.put("shared/x", b"x")
    assert (blobs.get("shared/x"), blobs.get_range("shared/x", 0, 1), blobs.exists("shared/x")) == (b"x", b"x", True)
    assert blobs.keys("shared/") == ["shared/x"]
    assert blobs.touch("shared/x")
    blobs.delete_unused("shared/", 0.0, lambda _: False)
    blobs.delete_prefix("shared/")
    assert {"PutObject", "GetObject", "HeadObject", "ListObjectsV2", "DeleteObjects"} <= asked.keys()
