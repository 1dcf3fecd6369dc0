"""What is written into a bucket: in one call, or in parts that are sent at the same time and are there all at once.

S3 takes some 80 MB/s in each call, and 5 GiB at most.
"""

from __future__ import annotations

import base64
import logging
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from htcgrid_core.domain.errors import InvalidInput

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
MOST_PARTS = 10_000  # of an object
IN_ONE_CALL_BYTES = 2 * PART_BYTES  # up to which the two calls more, and their price, are not worth it
LARGEST_BYTES = 5 << 40  # of an object
CHECKSUM = "crc32"  # in the object's metadata: emulators accept a wrong checksum of the request, and so we look


@dataclass(frozen=True)
class Body:
    """Bytes to be written, which are read again while they are sent.

    Attributes:
        read: ``read(start, length)``; may be called by several threads.
        part_bytes: of each part but the last.
        checksums: the CRC-32 of each part.
        checksum: of all of them.
    """

    size: int
    read: Callable[[int, int], bytes]
    part_bytes: int
    checksums: tuple[int, ...]
    checksum: int


def body_of(data: bytes) -> Body:
    """What is in memory."""
    return _body(len(data), lambda start, length: data[start : start + length], lambda _: None)


def body_of_file(file: BinaryIO, see: Callable[[bytes], object]) -> Body:
    """A file, which is read once now and once when it is sent.

    Args:
        see: called with all of its bytes, in order.

    Raises:
        InvalidInput: it is larger than an object may be.
    """
    fd, size = file.fileno(), os.fstat(file.fileno()).st_size
    if size > LARGEST_BYTES:
        raise InvalidInput(f"{file.name} has {size:,} bytes, and an object of S3 at most {LARGEST_BYTES:,}")
    return _body(size, lambda start, length: os.pread(fd, length, start), see)


def _body(size: int, read: Callable[[int, int], bytes], see: Callable[[bytes], object]) -> Body:
    part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))
    checksums, whole = [], zlib.crc32(b"")
    for start in range(0, size, part_bytes):
        part = read(start, part_bytes)
        see(part)
        checksums.append(zlib.crc32(part))
        whole = zlib.crc32(part, whole)
    return Body(size, read, part_bytes, tuple(checksums), whole)


def upload(s3: S3Client, where: dict[str, Any], body: Body) -> None:
    """Write an object unless there is one.

    Args:
        where: bucket and key.

    Raises:
        InvalidInput: the bytes changed while they were read.
        ClientError: of the call that failed; there is no such object then, and no part of one.
    """
    metadata = {CHECKSUM: f"{body.checksum:08x}"}
    if body.size <= IN_ONE_CALL_BYTES:
        data = body.read(0, body.size)
        _compare(data, body.checksum)
        s3.put_object(**where, Body=data, IfNoneMatch="*", ChecksumCRC32=_base64(body.checksum), Metadata=metadata)
        return
    begun = s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32", Metadata=metadata)
    under = {**where, "UploadId": begun["UploadId"]}

    def send(number: int) -> Any:
        data, checksum = body.read(number * body.part_bytes, body.part_bytes), body.checksums[number]
        _compare(data, checksum)
        sent = s3.upload_part(**under, PartNumber=number + 1, Body=data, ChecksumCRC32=_base64(checksum))
        return {"PartNumber": number + 1, "ETag": sent["ETag"], "ChecksumCRC32": _base64(checksum)}

    try:
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="htcgrid-part") as pool:
            try:
                parts = list(pool.map(send, range(len(body.checksums))))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        s3.complete_multipart_upload(**under, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except BaseException:
        _abort(s3, under)
        raise


def _abort(s3: S3Client, under: dict[str, Any]) -> None:
    """Have S3 forget the parts; where it does not, the bucket's own rule does after some days."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3.abort_multipart_upload(**under)
    except (BotoCoreError, ClientError) as error:
        _log.warning("the parts of %s stay until the bucket's lifecycle rule deletes them: %s", under["Key"], error)


def _compare(data: bytes, checksum: int) -> None:
    if zlib.crc32(data) != checksum:
        raise InvalidInput("what is to be stored changed while it was read")


def _base64(checksum: int) -> str:
    return base64.b64encode(checksum.to_bytes(4)).decode()
