"""Objects of buckets that are not the grid's own, as files: read by range, one version of them, and written whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.domain.errors import ObjectNotFound
from htcgrid_core.domain.s3_uri import S3Uri

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

READ_BYTES = 8 << 20  # of one request: what a broken connection costs, and what is held in memory
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "NotFound"})
_BAD_REQUEST = frozenset({"400", "BadRequest"})  # of an answer to HEAD, which has no body, and so no code
_NO_ARGUMENT = frozenset({"InvalidArgument"})
_CHANGED = frozenset({"PreconditionFailed", "412"})


class S3Objects:
    """Reads and writes; what is wrong is an InvalidInput of whoever named the object."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def open(self, uri: S3Uri, version_id: str = "", etag: str = "") -> BinaryIO:
        """An object as a file. All of it is of one version, also if it is replaced meanwhile.

        Args:
            version_id: which version; empty for the latest.
            etag: that it must have; empty for whichever.

        Raises:
            ObjectNotFound: there is none, or another one by now.
            AccessDenied, GridUnavailable: as for every call of AWS.
        """
        return io.BufferedReader(_ObjectFile(self._clients, uri, version_id, etag), READ_BYTES)

    def write(self, uri: S3Uri, file: BinaryIO) -> None:
        """Store a file's bytes from where it stands, in parts if there are many.

        Raises:
            AccessDenied, GridUnavailable: as for every call of AWS; no object is half written.
        """
        with _errors_of(uri):
            self._clients.s3.upload_fileobj(file, uri.bucket, uri.key)


class _ObjectFile(io.RawIOBase):
    def __init__(self, clients: Clients, uri: S3Uri, version_id: str, etag: str) -> None:
        self._clients, self._uri, self._at = clients, uri, 0
        which: Any = {"Bucket": uri.bucket, "Key": uri.key}
        which |= {"VersionId": version_id} if version_id else {}
        wanted: Any = {**which, "IfMatch": etag} if etag else which
        with _errors_of(uri, version_id):
            found = _head(clients, wanted)
        self._size = found["ContentLength"]
        self._which: Any = {**which, "IfMatch": found["ETag"]}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        bounds = f"bytes={self._at}-{self._at + wanted - 1}"
        with _errors_of(self._uri):
            data = self._clients.s3.get_object(**self._which, Range=bounds)["Body"].read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _head(clients: Clients, wanted: Any) -> Any:
    """What HEAD says; a bad request is made again as GET, whose answer has a body that says why."""
    from botocore.exceptions import ClientError

    try:
        return clients.s3.head_object(**wanted)
    except ClientError as error:
        if code_of(error) not in _BAD_REQUEST:
            raise
        clients.s3.get_object(**wanted, Range="bytes=0-0")["Body"].close()
        raise


@contextmanager
def _errors_of(uri: S3Uri, version_id: str = "") -> Iterator[None]:
    from botocore.exceptions import ClientError

    with aws_errors(f"S3 bucket {uri.bucket}"):
        try:
            yield
        except ClientError as error:
            if code_of(error) in _MISSING:
                raise ObjectNotFound(f"there is no {uri}, or not this version of it any more") from error
            if code_of(error) in _NO_ARGUMENT and version_id:
                raise ObjectNotFound(f"{version_id[:200]!r} can be no version of {uri}") from error
            if code_of(error) in _CHANGED:
                raise ObjectNotFound(f"{uri} has been replaced by another version") from error
            raise
