"""S3 blobs keep the contract of the port, on an emulator over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.s3.blobs import RANGE_BYTES, S3Blobs
from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.adapters.aws.s3.uploads import IN_ONE_CALL_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, InvalidInput
from htcgrid_core.ports.blob_store import BlobStore
from htcgrid_core.testing.contracts import BlobStoreContract
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account
from tests.aws.grids import clients_of

DIGEST_KEY = f"shared/{hashlib.sha256(b'fetched').hexdigest()}"


def bucket_of(account: Account) -> str:
    """A bucket's name is its own in all accounts."""
    return f"htcgrid-contract-{account.id}"


def blobs_in(account: Account, cache: Path) -> S3Blobs:
    bucket = bucket_of(account)
    account.s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return S3Blobs(clients_of(account), bucket, BlobCache(DiskCache(cache, 1 << 30)))


class TestS3Blobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, aws_account: Account, tmp_path: Path) -> BlobStore:
        return blobs_in(aws_account, tmp_path)


class TestOnAws:
    """What the port does not know of."""

    @pytest.fixture
    def blobs(self, aws_account: Account, tmp_path: Path) -> S3Blobs:
        return blobs_in(aws_account, tmp_path)

    @pytest.mark.parametrize("size", [RANGE_BYTES - 1, RANGE_BYTES, RANGE_BYTES + 1, 2 * RANGE_BYTES + 7], ids=str)
    def test_around_the_size_of_a_range(self, blobs: S3Blobs, size: int) -> None:
        data = bytes(range(251)) * (size // 251 + 1)
        blobs.put("shared/large", data[:size])
        assert blobs.get("shared/large") == data[:size]

    def test_a_changed_object_is_not_read(self, blobs: S3Blobs, aws_account: Account) -> None:
        """Whoever changed it kept its metadata, as a broken disk does."""
        blobs.put("shared/x", b"as it was")
        metadata = aws_account.s3().head_object(Bucket=bucket_of(aws_account), Key="shared/x")["Metadata"]
        aws_account.s3().put_object(Bucket=bucket_of(aws_account), Key="shared/x", Body=b"as it wAs", Metadata=metadata)
        with pytest.raises(CorruptPayload, match="checksum"):
            blobs.get("shared/x")

    def test_an_object_whose_length_is_not_told(self, blobs: S3Blobs) -> None:
        """As proxies send it, in pieces."""
        blobs.put("shared/x", b"as it was")
        blobs._clients.s3.meta.events.register(
            "after-call.s3.GetObject", lambda parsed, **_: parsed.pop("ContentLength"), unique_id="no-length"
        )
        assert blobs.get("shared/x") == b"as it was"

    def test_more_blobs_than_one_page_lists(self, blobs: S3Blobs) -> None:
        for number in range(1005):
            blobs.put(f"sessions/s-1/{number}", b"")
        blobs.put("sessions/s-10/0", b"")
        blobs.delete_prefix("sessions/s-1/")
        assert not any(blobs.exists(f"sessions/s-1/{number}") for number in (0, 1, 999, 1000, 1004))
        assert blobs.exists("sessions/s-10/0")

    def test_a_prefix_ends_with_a_slash(self, blobs: S3Blobs) -> None:
        for prefix in ("", "sessions/s-1", "/"):
            with pytest.raises((InvalidInput, CorruptPayload)):
                blobs.delete_prefix(prefix)

    def test_a_path_is_fetched_once(self, blobs: S3Blobs, aws_account: Account) -> None:
        blobs.put(DIGEST_KEY, b"fetched")
        path = blobs.path(DIGEST_KEY)
        aws_account.s3().delete_object(Bucket=bucket_of(aws_account), Key=DIGEST_KEY)
        assert blobs.path(DIGEST_KEY) == path
        assert path.read_bytes() == b"fetched"

    def test_a_damaged_file_is_fetched_again(self, blobs: S3Blobs) -> None:
        blobs.put(DIGEST_KEY, b"fetched")
        blobs.path(DIGEST_KEY).write_bytes(b"damaged, and of another size")
        assert blobs.path(DIGEST_KEY).read_bytes() == b"fetched"

    def test_use_sets_the_clock_back(
        self, blobs: S3Blobs, aws_account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once a day: S3 only knows when a blob was written, so it is written again, with its checksum."""
        s3, bucket = aws_account.s3(), bucket_of(aws_account)

        def written_at() -> float:
            return s3.head_object(Bucket=bucket, Key="shared/x")["LastModified"].timestamp()

        blobs.put("shared/x", b"used")
        first = written_at()
        assert blobs.touch("shared/x")
        assert written_at() == first
        monkeypatch.setattr(limits, "BLOB_TOUCH_SECONDS", -1.0)
        eventually(lambda: blobs.touch("shared/x") and written_at() > first, bool)
        assert blobs.get("shared/x") == b"used"


class TestInParts:
    """Large blobs are sent in parts at the same time, and are there all at once or not at all."""

    DATA = bytes(range(251)) * (IN_ONE_CALL_BYTES // 251 + 2)

    @pytest.fixture
    def blobs(self, aws_account: Account, tmp_path: Path) -> S3Blobs:
        return blobs_in(aws_account, tmp_path)

    def calls(self, monkeypatch: pytest.MonkeyPatch, blobs: S3Blobs, **broken: Exception) -> list[str]:
        """The names of the calls of S3 from now on, of which some fail."""
        made: list[str] = []
        s3: Any = blobs._clients.s3
        call = s3._make_api_call

        def make(name: str, arguments: dict[str, Any]) -> Any:
            made.append(name)
            if name in broken:
                raise broken[name]
            return call(name, arguments)

        monkeypatch.setattr(s3, "_make_api_call", make)
        return made

    @pytest.mark.parametrize("more", [0, 1])
    def test_from_which_size_on(self, blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
        data = self.DATA[: IN_ONE_CALL_BYTES + more]
        made = self.calls(monkeypatch, blobs)
        blobs.put("shared/large", data)
        in_parts = ["CreateMultipartUpload", "UploadPart", "UploadPart", "UploadPart", "CompleteMultipartUpload"]
        assert made == (in_parts if more else ["PutObject"])
        assert blobs.get("shared/large") == data

    def test_the_first_stays(self, blobs: S3Blobs, aws_account: Account) -> None:
        blobs.put("shared/large", b"first")
        blobs.put("shared/large", self.DATA)
        assert blobs.get("shared/large") == b"first"
        self.nothing_is_left(aws_account)

    @pytest.mark.parametrize("name", ["UploadPart", "CompleteMultipartUpload"])
    def test_a_call_that_fails(
        self, blobs: S3Blobs, aws_account: Account, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        error = ClientError({"Error": {"Code": "SlowDown", "Message": "less"}}, name)
        with monkeypatch.context() as patch:
            made = self.calls(patch, blobs, **{name: error})
            with pytest.raises(GridUnavailable):
                blobs.put("shared/large", self.DATA)
        assert made[-1] == "AbortMultipartUpload"
        assert not blobs.exists("shared/large")
        self.nothing_is_left(aws_account)
        blobs.put("shared/large", self.DATA)
        assert blobs.get("shared/large") == self.DATA

    def test_parts_that_stay_are_told_of(
        self, blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is raised is why the upload failed."""
        failed, denied = (ClientError({"Error": {"Code": code}}, "S3") for code in ("SlowDown", "AccessDenied"))
        self.calls(monkeypatch, blobs, UploadPart=failed, AbortMultipartUpload=denied)
        with pytest.raises(GridUnavailable, match="SlowDown"):
            blobs.put("shared/large", self.DATA)
        assert "shared/large stay until the bucket's lifecycle rule" in caplog.text

    def test_a_file_that_changes_while_it_is_sent(
        self, blobs: S3Blobs, aws_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, key = tmp_path / "given", f"shared/{hashlib.sha256(self.DATA).hexdigest()}"
        path.write_bytes(self.DATA)
        s3: Any = blobs._clients.s3
        begin = s3.create_multipart_upload

        def changed(**arguments: Any) -> Any:
            with open(path, "r+b") as file:
                file.write(b"other")
            return begin(**arguments)

        with monkeypatch.context() as patch:
            patch.setattr(s3, "create_multipart_upload", changed)
            with pytest.raises(InvalidInput, match="changed"):
                blobs.put_file(key, path)
        assert not blobs.exists(key)
        self.nothing_is_left(aws_account)

    def nothing_is_left(self, account: Account) -> None:
        assert not account.s3().list_multipart_uploads(Bucket=bucket_of(account)).get("Uploads")
