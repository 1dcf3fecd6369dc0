"""Blobs as S3 objects: written whole and once, read by range, checked at every read."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.adapters.aws.s3.uploads import CHECKSUM, Body, body_of, body_of_file, upload
from htcgrid_core.codecs.buffers import Data, joined
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, InvalidInput

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients
    from htcgrid_core.adapters.aws.s3.cache import BlobCache

RANGE_BYTES = 8 << 20  # more than that is read in several calls at once, for S3 sends some 80 MB/s in each
RANGES_AT_ONCE = 4
DELETE_BATCH = 1000
TRIES = 3

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MISSING = ("NoSuchKey", "404", "NotFound")
_EXISTS = ("PreconditionFailed", "412")
_AT_ONCE = ("ConditionalRequestConflict", "409")  # another writer of the same key is not ready yet


class S3Blobs:
    """A bucket of blobs.

    Args:
        account: that owns the bucket; a bucket of the same name that another account owns is not used. Empty if that
            is not known.
    """

    def __init__(self, clients: Clients, bucket: str, cache: BlobCache, account: str = "") -> None:
        self._clients = clients
        self._bucket = bucket
        self._where: Any = {"Bucket": bucket, **({"ExpectedBucketOwner": account} if account else {})}
        self._source: Any = {"ExpectedSourceBucketOwner": account} if account else {}
        self._cache = cache
        self._resource = f"S3 bucket {bucket}"

    def put(self, key: str, data: Data) -> None:
        """Store ``data``; a key that exists keeps its bytes, and counts as used now.

        Raises:
            GridUnavailable: it is not known whether it was; the same call may be repeated.
        """
        if not self._write(key, data):
            self.touch(key)

    def claim(self, key: str, data: bytes) -> bytes:
        """Store ``data`` unless the key exists, and return what is stored.

        Raises:
            GridUnavailable: it is not known whether it was; the same call may be repeated.
        """
        return data if self._write(key, data) else self.get(key)

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes unless the key exists: S3 compares the checksum of what came with that of the file."""
        if self.touch(key):
            return
        digest = hashlib.sha256()
        try:
            with open(path, "rb", buffering=0) as file:
                body = body_of_file(file, digest.update)
                if digest.hexdigest() != key.rpartition("/")[2]:
                    raise InvalidInput(f"{path} changed while it was read")
                self._upload(key, body)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error}") from error

    def _write(self, key: str, data: Data) -> bool:
        """Write a blob; False if there is one, which stays."""
        return self._upload(key, body_of(joined(data)))

    def _upload(self, key: str, body: Body) -> bool:
        from botocore.exceptions import ClientError

        with aws_errors(self._resource):
            try:
                upload(self._clients.s3, {**self._where, "Key": _checked(key)}, body)
            except ClientError as error:
                if code_of(error) in _AT_ONCE:
                    raise GridUnavailable(f"blob {key} is being written by another; try again") from error
                if code_of(error) not in _EXISTS:
                    raise
                return False
        return True

    def get(self, key: str) -> bytes:
        """Read a blob.

        Raises:
            CorruptPayload: there is no such blob, or its bytes are not those that were written.
        """
        for _ in range(TRIES):
            data, checksum = self._read(_checked(key), 0, None)
            if not checksum or checksum == f"{zlib.crc32(data):08x}":
                return data
        raise CorruptPayload(f"blob {key} does not match its checksum")

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a blob; the checksum is the whole's, and so whoever reads a part must have another."""
        return self._read(_checked(key), start, length)[0] if length else b""

    def _read(self, key: str, start: int, length: int | None) -> tuple[bytes, str]:
        """Bytes from ``start`` on, as many as there are unless ``length`` says fewer; and the checksum of the whole."""
        wanted = RANGE_BYTES if length is None else min(length, RANGE_BYTES)
        first = self._read_range(key, start, wanted, {})
        stop = first["size"] if length is None else min(start + length, first["size"])
        starts = range(start + len(first["data"]), stop, RANGE_BYTES)
        if not starts:
            return first["data"], first["checksum"]

        def more(at: int) -> bytes:
            # The same object as before: a key may be deleted and written again by another try of the same session.
            wanted = min(RANGE_BYTES, stop - at)
            part: bytes = self._read_range(key, at, wanted, {"IfMatch": first["etag"]})["data"]
            if len(part) != wanted:
                raise GridUnavailable(f"blob {key}: {len(part)} bytes of {wanted} from {at} on came; try again")
            return part

        with ThreadPoolExecutor(min(RANGES_AT_ONCE, len(starts)), thread_name_prefix="htcgrid-range") as pool:
            return b"".join((first["data"], *pool.map(more, starts))), first["checksum"]

    def _read_range(self, key: str, start: int, length: int, condition: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        wanted = f"bytes={start}-{start + length - 1}"
        with aws_errors(self._resource):
            try:
                answer = self._clients.s3.get_object(**self._where, Key=key, Range=wanted, **condition)
                data = answer["Body"].read()
            except ClientError as error:
                if code_of(error) in _MISSING:
                    raise CorruptPayload(f"blob {key} is missing") from error
                if code_of(error) in _EXISTS:
                    raise GridUnavailable(f"blob {key} was written anew while it was read; try again") from error
                if (
                    code_of(error) == "InvalidRange"
                ):  # which is what an empty object has, and what begins behind its end
                    return {"data": b"", "size": 0, "etag": "", "checksum": ""}
                raise
        promised = answer.get("ContentLength", len(data))  # a proxy may send pieces without a length
        if len(data) != promised:
            raise GridUnavailable(f"blob {key}: {len(data)} bytes of {promised} came; try again")
        size = int(answer.get("ContentRange", f"/{len(data)}").rpartition("/")[2])
        checksum = answer.get("Metadata", {}).get(CHECKSUM, "")
        return {"data": data, "size": size, "etag": answer["ETag"], "checksum": checksum}

    def own_file(self, key: str) -> None:
        """None: its bytes are in the bucket."""

    def exists(self, key: str) -> bool:
        """Whether the blob is there."""
        return self._head(_checked(key)) is not None

    def _head(self, key: str) -> Any:
        """What is known of a blob; None if there is none."""
        from botocore.exceptions import ClientError

        with aws_errors(self._resource):
            try:
                return self._clients.s3.head_object(**self._where, Key=key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise

    def path(self, key: str) -> Path:
        """A file with the blob's bytes, fetched unless it was before, in pieces."""
        return self._cache.file(_checked(key), lambda path: self._fetch(key, path))

    def folder(self, key: str) -> Path:
        """The folder whose archive the blob is, fetched unless it was unpacked before."""
        return self._cache.folders.folder(_checked(key), lambda: self.path(key))

    def _fetch(self, key: str, path: Path) -> None:
        """Write a blob into a new file, as ``get`` reads it.

        Raises:
            CorruptPayload: there is no such blob, or its bytes are not those that were written.
        """
        for _ in range(TRIES):
            found, at = zlib.crc32(b""), 0
            with open(path, "wb") as file:
                first = self._read_range(key, 0, RANGE_BYTES, {})
                part = first
                while True:
                    found = zlib.crc32(part["data"], found)
                    file.write(part["data"])
                    at += len(part["data"])
                    if at >= first["size"]:
                        break
                    part = self._read_range(key, at, RANGE_BYTES, {"IfMatch": first["etag"]})
                    if not part["data"]:
                        raise GridUnavailable(f"blob {key}: it ends at {at} of {first['size']} bytes; try again")
            if not first["checksum"] or first["checksum"] == f"{found:08x}":
                path.chmod(0o400)  # nobody writes to it by mistake
                return
        raise CorruptPayload(f"blob {key} does not match its checksum")

    def touch(self, key: str) -> bool:
        """Note that a blob is used now, once a day; False if there is none.

        S3 knows when a blob was written, so it is copied onto itself.
        """
        head = self._head(_checked(key))
        if head is None:
            return False
        if time.time() - head["LastModified"].timestamp() > limits.BLOB_TOUCH_SECONDS:
            with aws_errors(self._resource):
                self._clients.s3.copy_object(
                    **self._where,
                    Key=key,
                    CopySource={"Bucket": self._bucket, "Key": key},
                    **self._source,
                    MetadataDirective="REPLACE",  # a copy onto itself has to change something
                    Metadata=head["Metadata"],
                    ChecksumAlgorithm="CRC32",
                )
        return True

    def delete_unused(self, prefix: str, before: float, keep: Callable[[str], bool]) -> list[str]:
        """Delete blobs below ``prefix`` that were not used since ``before``, unless ``keep`` says otherwise."""
        gone = []
        for found in self._listed(prefix):
            key = found["Key"]
            if found["LastModified"].timestamp() >= before or keep(key):
                continue
            head = self._head(key)  # as it is now: somebody may have begun to use it
            if head is not None and head["LastModified"].timestamp() < before:
                with aws_errors(self._resource):
                    self._delete([key])
                gone.append(key)
        return gone

    def keys(self, prefix: str) -> list[str]:
        """Keys of the blobs below ``prefix`` (which ends with a slash), in order."""
        return [found["Key"] for found in self._listed(prefix)]

    def delete_prefix(self, prefix: str) -> None:
        """Delete every blob whose key begins with ``prefix``, which ends with a slash.

        Raises:
            GridUnavailable: some are left; the same call may be repeated.
        """
        found = self._listed(prefix)
        while keys := [each["Key"] for each in islice(found, DELETE_BATCH)]:
            with aws_errors(self._resource):
                self._delete(keys)

    def _listed(self, prefix: str) -> Iterator[Any]:
        """Blobs below a prefix, listed a thousand at a time."""
        if not prefix.endswith("/"):
            raise InvalidInput(f"{prefix!r} does not end with a slash, and others may begin with it")
        _checked(prefix[:-1])
        with aws_errors(self._resource):
            pages = self._clients.s3.get_paginator("list_objects_v2").paginate(
                **self._where, Prefix=prefix, PaginationConfig={"PageSize": DELETE_BATCH}
            )
            for page in pages:
                yield from page.get("Contents", ())

    def _delete(self, keys: list[str]) -> None:
        said = ""
        for _ in range(TRIES):
            answer = self._clients.s3.delete_objects(
                **self._where, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
            errors = answer.get("Errors", ())
            if not errors:
                return
            said = f"{errors[0].get('Code')}: {errors[0].get('Message')}"
            keys = [error["Key"] for error in errors]
        raise GridUnavailable(f"{self._resource}: {len(keys)} blobs cannot be deleted ({said}); try again")


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise CorruptPayload(f"{key!r} is not a blob key")
    return key
