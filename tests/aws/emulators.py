"""AWS emulators as servers of their own, one a test session, and clients for them.

``ministack`` is the main one. ``moto`` is a second opinion on the shapes of calls; it is not safe under concurrency.
Every test has an account of its own, which is what ministack makes of a 12-digit access key.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

REPOSITORY = Path(__file__).resolve().parents[2]
MINISTACK = REPOSITORY / ".venv-ministack" / "bin" / "ministack"
MICROBURST = [str(MINISTACK.with_name("python")), "-m", "microburst"]
REGION = "eu-west-1"
SECRET = "emulated"  # of every key; ministack verifies presigned URLs with the one in its environment
START_SECONDS = 60.0
PR_SET_PDEATHSIG = 1  # of prctl(2)

_making = threading.Lock()  # a session makes one client at a time
_accounts = itertools.count(os.getpid() * 10_000 % 800_000_000_000 + 100_000_000_000)


@dataclass(frozen=True)
class Account:
    """One account on one emulator.

    Attributes:
        url: the emulator's endpoint, for AWS_ENDPOINT_URL.
        id: twelve digits: account and access key.
    """

    url: str
    id: str = field(default_factory=lambda: str(next(_accounts)))

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which any AWS client of a child process finds the account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.id,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def session(self) -> boto3.Session:
        """A boto3 session with the account's keys; pass ``endpoint_url=account.url`` to its clients."""
        import boto3

        session = boto3.Session(aws_access_key_id=self.id, aws_secret_access_key=SECRET, region_name=REGION)
        loader: Any = _models()._session.get_component("data_loader")  # has read the services' models
        session._session.register_component("data_loader", loader)
        return session

    def client(self, service: str, config: Config | None = None) -> Any:
        """A client of any service; may be shared between threads."""
        with _making:
            return _models().client(
                service,  # type: ignore[call-overload]  # the name is not a literal
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id=self.id,
                aws_secret_access_key=SECRET,
                config=config or default_config(),
            )

    def dynamodb(self, config: Config | None = None) -> DynamoDBClient:
        """A DynamoDB client."""
        client: DynamoDBClient = self.client("dynamodb", config)
        return client

    def sqs(self, config: Config | None = None) -> SQSClient:
        """An SQS client."""
        client: SQSClient = self.client("sqs", config)
        return client

    def s3(self, config: Config | None = None) -> S3Client:
        """An S3 client."""
        client: S3Client = self.client("s3", config)
        return client


@cache
def _models() -> boto3.Session:
    """One session for all clients: it reads each service's model, a tenth of a second, once."""
    import boto3

    return boto3.Session()


def default_config() -> Config:
    """For a local endpoint: threads do not wait for each other's connections."""
    from botocore.config import Config

    return Config(
        max_pool_connections=32,
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 3},
        s3={"addressing_style": "path"},
    )


@contextmanager
def ministack(**variables: str) -> Iterator[str]:
    """The URL of a running ministack, whose environment has these variables too."""
    if not MINISTACK.exists():
        raise FileNotFoundError(f"{MINISTACK} is missing: make .venv-ministack/ready")
    port = free_port()
    environment = {
        **clean_environment(), "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1",
        "LOG_LEVEL": "ERROR", "AWS_SECRET_ACCESS_KEY": SECRET, **variables,
    }  # fmt: skip
    with server([str(MINISTACK)], environment, f"http://127.0.0.1:{port}", "/_ministack/health") as url:
        yield url


@contextmanager
def moto() -> Iterator[str]:
    """The URL of a running moto server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, clean_environment(), f"http://127.0.0.1:{port}", "/moto-api/") as url:
        yield url


@contextmanager
def server(command: list[str], environment: dict[str, str], url: str, health: str) -> Iterator[str]:
    """Start a server, wait until it answers, and end it and its children whatever happens."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            _wait_until_it_answers(process, url + health, log)
            yield url
        finally:
            _end(process)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that tests is killed, and so ends no fixture."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise RuntimeError(f"{process.args!r} did not start: {log.read().decode(errors='replace')}") from None
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def clean_environment() -> dict[str, str]:
    """Without AWS's own variables, which an emulator would take for its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
