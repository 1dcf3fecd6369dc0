"""boto3's clients: made once, when first used, and shared by all threads of a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.errors import EXPIRED, aws_errors
from htcgrid_core.adapters.aws.request_metrics import observe
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.adapters.locked import locked, new_lock
from htcgrid_core.domain.errors import UnknownGrid
from htcgrid_core.ports.metrics import NO_METRICS, Metrics

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

CONNECT_SECONDS = 5
READ_SECONDS = 30  # longer than the longest poll of a queue
# A service repeats what failed, and a heartbeat must not wait out the seconds of botocore's own pauses.
TRIES = {
    "dynamodb": 2, "sqs": 3, "s3": 4, "ssm": 4, "sts": 4, "stepfunctions": 1, "sns": 1, "events": 1,
    "service-quotas": 4, "secretsmanager": 4, "kinesis": 4,
}  # fmt: skip
ROLE_SESSION = "htcgrid"


class Clients:
    """The clients of one grid, in one process and its forked children.

    Args:
        session: whose credentials are used, instead of those that the settings name.
        metrics: in which requests are counted.
    """

    def __init__(
        self, settings: AwsSettings, session: boto3.Session | None = None, metrics: Metrics = NO_METRICS
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._given = session
        self._lock = new_lock()
        self._made: dict[str, Any] = {}
        self._session: boto3.Session | None = None
        self._pid = os.getpid()

    @property
    def dynamodb(self) -> DynamoDBClient:
        """For the table."""
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @property
    def sqs(self) -> SQSClient:
        """For the queues."""
        client: SQSClient = self._client("sqs")
        return client

    @property
    def s3(self) -> S3Client:
        """For the bucket."""
        client: S3Client = self._client("s3")
        return client

    @property
    def ssm(self) -> Any:
        """For the parameters."""
        return self._client("ssm")

    @property
    def sts(self) -> Any:
        """To learn which account this is."""
        return self._client("sts")

    @property
    def stepfunctions(self) -> Any:
        """For the tasks that wait for sessions."""
        return self._client("stepfunctions")

    def of(self, service: str, region: str) -> Any:
        """A client of any service in a region of its own: of what somebody else's ARN names."""
        return self._client(service, region)

    @property
    def region(self) -> str:
        """The region that is used.

        Raises:
            UnknownGrid: none is set anywhere.
        """
        region = self._known_region()
        if not region:
            raise UnknownGrid(
                "no AWS region is set: name it in the URL, as in aws://NAME?region=eu-west-1, or in AWS_REGION"
            )
        return region

    @locked
    def close(self) -> None:
        """Close connections; whoever goes on opens new ones."""
        made, self._made = self._made, {}
        if self._pid == os.getpid():
            for client in made.values():
                client.close()

    @locked
    def _known_region(self) -> str | None:
        with aws_errors("AWS"):
            return self._settings.region or self._in_session().region_name

    def _client(self, service: str, elsewhere: str = "") -> Any:
        name = f"{service} {elsewhere}"
        client = self._made.get(name)
        if client is not None and self._pid == os.getpid():
            return client
        return self._make(name, service, elsewhere or self.region)

    @locked
    def _make(self, name: str, service: str, region: str) -> Any:
        with aws_errors(f"AWS in {region}"):
            session = self._in_session()  # first: it forgets what a parent process made
            if name not in self._made:
                client = session.client(  # type: ignore[call-overload]  # the name is not a literal
                    service, region_name=region, endpoint_url=self._settings.endpoint, config=self._config(service)
                )
                client.meta.events.register("after-call", self._forget_if_expired)
                if service == "s3":
                    _send_at_once(client)
                if self._metrics is not NO_METRICS:
                    observe(client, self._metrics)
                self._made[name] = client
            return self._made[name]

    @locked
    def _forget_if_expired(self, /, parsed: dict[str, Any], **_: Any) -> None:
        """Have the next call look for credentials anew: the old ones have expired, and may be renewed in a file."""
        if self._given is None and parsed.get("Error", {}).get("Code") in EXPIRED:
            self._made, self._session = {}, None

    def _in_session(self) -> boto3.Session:
        if self._session is None or self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._made.clear()
            self._pid = os.getpid()
            self._session = self._open_session()
        return self._session

    def _open_session(self) -> boto3.Session:
        import boto3  # 150 ms, and most commands of the command line need none

        settings = self._settings
        # botocore knows AWS_DEFAULT_REGION only, the other SDKs and Lambda say AWS_REGION.
        region = settings.region or (None if settings.profile else os.environ.get("AWS_REGION"))
        session = self._given or boto3.Session(profile_name=settings.profile, region_name=region)
        return session if settings.role is None else self._assume(session, settings.role)

    def _assume(self, session: boto3.Session, role: str) -> boto3.Session:
        """A session with the role's credentials, which are fetched when first used and again before they expire."""
        import boto3
        import botocore.session
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        def client(service: str, **arguments: Any) -> Any:
            return session.client(  # type: ignore[call-overload]  # the name is not a literal
                service, **{"endpoint_url": self._settings.endpoint, **arguments}
            )

        fetcher = AssumeRoleCredentialFetcher(
            client_creator=client,
            source_credentials=session.get_credentials(),
            role_arn=role,
            extra_args={"RoleSessionName": ROLE_SESSION},
        )
        assumed = botocore.session.Session()
        # botocore has no public way to give a session credentials that renew themselves.
        credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
        assumed._credentials = credentials  # type: ignore[attr-defined]
        return boto3.Session(botocore_session=assumed, region_name=session.region_name)

    def _config(self, service: str) -> Any:
        from botocore.config import Config

        emulated = (
            self._settings.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        )
        return Config(
            signature_version="s3v4" if service == "s3" else None,  # of URLs it would be an older one in some regions
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=self._settings.connections,
            retries={"mode": self._settings.retries, "total_max_attempts": TRIES[service]},
            # An emulator has no host name for each bucket; "auto" would sign URLs of no region, which S3 redirects.
            s3={"addressing_style": "path" if emulated else "virtual"},
            user_agent="Boto3 htcgrid",  # else it is put together anew for each call, which takes a tenth of its CPU
            parameter_validation=False,  # which takes as long as all else in a call with 25 items; AWS does it anyway
        )


def _send_at_once(s3: Any) -> None:
    """Have objects sent with their requests: botocore would first ask whether they may be, and wait for the answer.

    That is a round trip for each object, and ours are small.
    """
    from botocore.handlers import add_expect_header

    s3.meta.events.unregister("before-call.s3", add_expect_header)
