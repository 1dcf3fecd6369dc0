"""The grid's Lambda functions as ministack runs them: from the archive, each in a process of its own."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.aws.emulators import REGION, REPOSITORY, Account
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import eventually
from tools.lambda_zip import build

UV = str(REPOSITORY / ".venv-uv" / "bin" / "uv")
EXAMPLES = REPOSITORY / "example_dags" / "step_functions"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # of ministack, which runs them in its own
ROLE = "arn:aws:iam::{account}:role/functions"
TIMEOUT_SECONDS = 60


@dataclass
class Deployed:
    """Functions of one account.

    Attributes:
        arns: by name.
    """

    account: Account
    arns: dict[str, str] = field(default_factory=dict)

    def invoke(self, name: str, event: Any) -> Any:
        """Its answer.

        Raises:
            AssertionError: it raised.
        """
        said = self.account.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        answer = json.loads(said["Payload"].read())
        assert "FunctionError" not in said, answer
        return answer

    def refused(self, name: str, event: Any) -> str:
        """What it raised."""
        said = self.account.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        assert said["FunctionError"]
        return str(json.loads(said["Payload"].read())["errorMessage"])

    def map(self, name: str, source: str, **options: Any) -> None:
        """A mapping of a queue or a stream."""
        self.account.client("lambda").create_event_source_mapping(
            FunctionName=name, EventSourceArn=source, Enabled=True, **options
        )


@dataclass(frozen=True)
class StateMachine:
    """The example's, in Step Functions."""

    account: Account
    arn: str

    @classmethod
    def of(cls, functions: Deployed, bucket: str, *, fan_out: str = "", **names: str) -> StateMachine:
        """A state machine.

        Args:
            fan_out: the file of the state that stands for ``FanOut``; empty for its own.
            names: what is put into the definition, beside functions and the place of results.
        """
        machine = json.loads((EXAMPLES / "book.asl.json").read_text())
        if fan_out:
            machine["States"]["FanOut"] = json.loads((EXAMPLES / f"{fan_out}.json").read_text())
        text = json.dumps(machine)
        for name, value in {**functions.arns, "results": f"s3://{bucket}/out/", **names}.items():
            text = text.replace(f"${{{name}}}", value)
        made = functions.account.client("stepfunctions").create_state_machine(
            name=f"book-{fan_out or 'itself'}", definition=text, roleArn=ROLE.format(account=functions.account.id)
        )
        return cls(functions.account, made["stateMachineArn"])

    def run(self, **asked: Any) -> Any:
        """What it comes to."""
        ended = self._ended(asked)
        assert ended["status"] == "SUCCEEDED", ended
        return json.loads(ended["output"])

    def failure(self, **asked: Any) -> str:
        """The error's name with which it fails."""
        ended = self._ended(asked)
        assert ended["status"] == "FAILED", ended
        return str(ended["error"])

    def _ended(self, asked: dict[str, Any]) -> Any:
        client = self.account.client("stepfunctions")
        text = json.dumps({"max_failures": 0, **asked})
        execution = client.start_execution(stateMachineArn=self.arn, input=text)["executionArn"]

        def ended() -> Any:
            found = client.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        return eventual(ended, "the execution has ended")


@dataclass(frozen=True)
class HttpApi:
    """An HTTP API of API Gateway, with IAM as the authorizer of its routes."""

    account: Account
    name: str

    @classmethod
    def of(cls, functions: Deployed, routes: dict[str, str]) -> HttpApi:
        """One with these routes to functions."""
        client = functions.account.client("apigatewayv2")
        api = client.create_api(Name="grid", ProtocolType="HTTP")["ApiId"]
        for route, function in routes.items():
            integration = client.create_integration(
                ApiId=api,
                IntegrationType="AWS_PROXY",
                IntegrationUri=functions.arns[function],
                PayloadFormatVersion="2.0",
            )["IntegrationId"]
            target = f"integrations/{integration}"
            client.create_route(ApiId=api, RouteKey=route, Target=target, AuthorizationType="AWS_IAM")
        client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        return cls(functions.account, api)

    def ask(self, method: str, path: str, body: Any = None, *, signed: bool = True) -> tuple[int, Any]:
        """A request: the answer's status and what its body says."""
        url = f"{self.account.url}{path}"
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Host": f"{self.name}.execute-api.{urlsplit(self.account.url).netloc}",
            "Content-Type": "application/json",
        }
        request = AWSRequest(method, url, data=data, headers=headers)
        if signed:
            SigV4Auth(Credentials(self.account.id, "emulated"), "execute-api", REGION).add_auth(request)
        asked = urllib.request.Request(url, data=data, headers=dict(request.headers), method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


def make_bucket(account: Account, name: str) -> None:
    """A bucket; those of all accounts share their names."""
    where: Any = {"LocationConstraint": REGION}
    account.s3().create_bucket(Bucket=name, CreateBucketConfiguration=where)


def callers(account: Account) -> str:
    """Whoever signs with the account's key may ask the REST API, for tenant ``rates``."""
    who = {"arn": f"arn:aws:iam::{account.id}:root", "scopes": ["code", "read", "submit"], "tenants": ["rates"]}
    return json.dumps([who])


@contextmanager
def deployed(grid: CloudUnderTest, archive: Path, *names: str, tenant: str = "rates") -> Iterator[Deployed]:
    """Functions of these modules, by their names."""
    own = {"rest_api": {"HTCGRID_API_CALLERS": callers(grid.account)}}
    found, bucket = Deployed(grid.account), f"code-{grid.account.id}"
    client, s3 = grid.account.client("lambda"), grid.account.s3()
    make_bucket(grid.account, bucket)
    s3.upload_file(str(archive), bucket, archive.name)
    try:
        for name in names:
            made = client.create_function(
                FunctionName=name,
                Runtime=f"python{PYTHON}",
                Handler=f"htcgrid_core.lambdas.{name}.handler",
                Role=ROLE.format(account=grid.account.id),
                Code={"S3Bucket": bucket, "S3Key": archive.name},
                Timeout=TIMEOUT_SECONDS,
                MemorySize=512,
                Environment={
                    "Variables": {"HTCGRID_URL": grid.url, **own.get(name, {"HTCGRID_TENANT": tenant})},
                },
            )
            found.arns[name] = made["FunctionArn"]
        yield found
    finally:
        for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
            client.delete_event_source_mapping(UUID=mapping["UUID"])  # functions end with their emulator


def archive_in(folder: Path) -> Path:
    """The archive, for the Python that runs this."""
    archive = folder / "htcgrid-lambdas.zip"
    build(archive, uv=UV, python=PYTHON, machine="x86_64", only_own_services=True)
    return archive


def eventual(look: Callable[[], Any], what: str) -> Any:
    """What ``look`` returns once it is something; asked once in a while, since each time asks an emulator."""

    def unhurried() -> Any:
        time.sleep(0.2)
        return look()

    return eventually(unhurried, what)
