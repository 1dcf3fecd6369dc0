"""Presigned PUTs: who holds one may put one object, of one length and one checksum, and nothing else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.ports.part_urls import PartUrl

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

GOOD_SECONDS = 900  # or as long as the credentials that sign, if those end sooner


class S3PartUrls:
    """Of a grid's bucket.

    Args:
        account: that must own the bucket; empty if that is not known.
    """

    def __init__(self, clients: Clients, bucket: str, account: str = "") -> None:
        self._clients = clients
        self._bucket = bucket
        self._owner = account

    def put(self, key: str, *, length: int, sha256: str, media: str, now: float) -> PartUrl:
        """A URL that takes a PUT of one key, one length and one checksum, for some minutes.

        All three are signed, the latter two as headers, so that S3 refuses others.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {"Content-Length": str(length), "Content-Type": media, "x-amz-checksum-sha256": checksum}
        params: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentLength": length,
            "ContentType": media,
            "ChecksumSHA256": checksum,
        }
        if self._owner:
            params["ExpectedBucketOwner"] = self._owner
            headers["x-amz-expected-bucket-owner"] = self._owner
        with aws_errors(f"S3 bucket {self._bucket}"):
            url = self._clients.s3.generate_presigned_url("put_object", params, GOOD_SECONDS)
        return PartUrl(url, headers, now + GOOD_SECONDS)
