"""What a bucket is set to, each setting read by a call and a permission of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors, code_of

T = TypeVar("T")
_ABSENT = frozenset(
    {
        "404", "NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)  # fmt: skip


class BucketSettings:
    """The settings of an S3 bucket.

    Attributes:
        keeps_versions: whether it does, as far as that was asked.
    """

    def __init__(self, clients: Clients, name: str) -> None:
        self.name = name
        self.keeps_versions = False
        self._clients = clients

    def exists(self) -> bool:
        """Whether it is there; AWS tells only those who may list it."""
        return self._read(lambda: bool(self._clients.s3.head_bucket(Bucket=self.name)), otherwise=False)

    def versioning(self) -> str:
        """Enabled or Suspended; empty if it never was."""
        get: Any = self._clients.s3.get_bucket_versioning
        status = self._read(lambda: str(get(Bucket=self.name).get("Status", "")), "")
        self.keeps_versions = status == "Enabled"
        return status

    def encryption(self) -> str:
        """By what objects are encrypted, unless a writer says otherwise; empty if by nothing."""
        return self._read(self._algorithm, "")

    def _algorithm(self) -> str:
        answer: Any = self._clients.s3.get_bucket_encryption(Bucket=self.name)
        rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
        return ", ".join(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules)

    def lifecycle(self) -> list[Any]:
        """Its rules."""
        get: Any = self._clients.s3.get_bucket_lifecycle_configuration
        return self._read(lambda: list(get(Bucket=self.name)["Rules"]), [])

    def is_private(self) -> bool:
        """Whether nobody can make it public."""
        get: Any = self._clients.s3.get_public_access_block
        blocked = self._read(lambda: dict(get(Bucket=self.name)["PublicAccessBlockConfiguration"]), dict[str, bool]())
        return len(blocked) == 4 and all(blocked.values())

    def _read(self, call: Callable[[], T], otherwise: T) -> T:
        with aws_errors(f"S3 bucket {self.name}"):
            try:
                return call()
            except ClientError as error:
                if code_of(error) not in _ABSENT:
                    raise
                return otherwise
