"""The contract of BlobStore: whole objects, written once."""

from __future__ import annotations

import hashlib
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core.codecs.folders import archived, digest_of
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, InvalidInput
from htcgrid_core.ports.blob_store import BlobStore
from htcgrid_core.testing.contracts.facts import together

KEY = "sessions/s-contract/events/00000000"


class BlobStoreContract:
    """What the services rely on in a blob store. Override ``blobs``."""

    @pytest.fixture
    def blobs(self) -> BlobStore:
        """A store without blobs. May be used from many threads."""
        raise NotImplementedError

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), b"\0" * 4097, b"block" * (1 << 20)], ids=len)
    def test_comes_back_as_it_went(self, blobs: BlobStore, data: bytes) -> None:
        """Any bytes, as bytes and as a file."""
        blobs.put(KEY, data)
        assert blobs.exists(KEY)
        assert blobs.get(KEY) == data
        assert blobs.path(KEY).read_bytes() == data

    @pytest.mark.parametrize("data", [b"", b"x", b"block" * (5 << 20)], ids=len)
    def test_a_file(self, blobs: BlobStore, tmp_path: Path, data: bytes) -> None:
        """Its bytes, under their digest, of which there is one; nobody writes to where tasks read it by mistake."""
        path, key = tmp_path / "given", f"shared/{hashlib.sha256(data).hexdigest()}"
        path.write_bytes(data)
        for _ in range(2):
            blobs.put_file(key, path)
            assert blobs.get(key) == data
        stored = blobs.path(key)
        assert stored.read_bytes() == data
        assert stored.stat().st_mode & 0o222 == 0
        assert path.stat().st_mode & 0o200
        path.write_bytes(b"other")
        blobs.put_file(key, path)  # it is there: nothing is read
        assert blobs.get(key) == data

    def test_a_file_that_cannot_be_stored(self, blobs: BlobStore, tmp_path: Path) -> None:
        """One that has changed since its digest was made, or is not there: there is no blob."""
        key = f"shared/{hashlib.sha256(b'before').hexdigest()}"
        with pytest.raises(InvalidInput, match="cannot be read"):
            blobs.put_file(key, tmp_path / "given")
        (tmp_path / "given").write_bytes(b"after!")
        with pytest.raises(InvalidInput, match="changed"):
            blobs.put_file(key, tmp_path / "given")
        assert blobs.keys("shared/") == []

    def test_a_folder(self, blobs: BlobStore, tmp_path: Path) -> None:
        """What is in it, read-only; made once however many ask for it, and anew if somebody has changed it."""
        given = tmp_path / "given"
        (given / "deep" / "empty").mkdir(parents=True)
        (given / "deep" / "größe.txt").write_bytes(b"1")
        (given / "run").write_bytes(b"#!/bin/sh\n")
        (given / "run").chmod(0o750)
        key = _put_folder(blobs, given)
        found = [path for path in together([lambda: blobs.folder(key)] * 4) if isinstance(path, Path)]
        assert len(found) == 4
        assert len(set(found)) == 1
        modes = {path.relative_to(found[0]).as_posix(): path.stat().st_mode & 0o777 for path in found[0].rglob("*")}
        assert modes == {"deep": 0o555, "deep/empty": 0o555, "deep/größe.txt": 0o444, "run": 0o555}
        assert (found[0] / "deep" / "größe.txt").read_bytes() == b"1"
        made = found[0].stat().st_ino
        assert blobs.folder(key).stat().st_ino == made
        assert digest_of(blobs.folder(key)) == key.removeprefix("shared/")
        (given / "run").write_bytes(b"other")
        assert _put_folder(blobs, given) != key

    def test_a_folder_that_is_none(self, blobs: BlobStore) -> None:
        """Other bytes, or no blob, are told."""
        data = b"no archive"
        key = f"shared/{hashlib.sha256(data).hexdigest()}"
        with pytest.raises(CorruptPayload):
            blobs.folder(key)
        blobs.put(key, data)
        with pytest.raises(CorruptPayload, match="cannot be read"):
            blobs.folder(key)

    @pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 5000), (4096, 1), (1, 4096), (4000, 96), (4000, 9999)])
    def test_a_part(self, blobs: BlobStore, start: int, length: int) -> None:
        """As much of it as there is."""
        data = bytes(range(256)) * 16 + b"!"
        blobs.put(KEY, data)
        assert blobs.get_range(KEY, start, length) == data[start : start + length]

    @pytest.mark.parametrize(("start", "length"), [(4, 1), (3, 1), (1000, 1000), (0, 0), (1, 0)])
    def test_no_part_of_it(self, blobs: BlobStore, start: int, length: int) -> None:
        """Behind its end is nothing."""
        blobs.put(KEY, b"abc")
        assert blobs.get_range(KEY, start, length) == b""

    def test_is_never_overwritten(self, blobs: BlobStore) -> None:
        """A zombie's late write changes nothing."""
        blobs.put(KEY, b"the winner's")
        blobs.put(KEY, b"the winner's")
        blobs.put(KEY, b"a zombie's")
        assert blobs.get(KEY) == b"the winner's"

    def test_a_claim_is_the_first_ones(self, blobs: BlobStore) -> None:
        """Whoever claims a key learns what holds for all, however often."""
        assert [blobs.claim(KEY, data) for data in (b"first", b"second", b"first")] == [b"first"] * 3
        assert blobs.get(KEY) == b"first"

    def test_of_many_who_claim_at_once_one_is_first(self, blobs: BlobStore) -> None:
        """Those who could not be told yet ask again."""
        answers = together([partial(blobs.claim, KEY, b"%d" % number) for number in range(8)])
        told = {answer for answer in answers if not isinstance(answer, GridUnavailable)}
        assert told == {blobs.get(KEY)}

    def test_missing(self, blobs: BlobStore) -> None:
        """Told apart from an unreachable store."""
        blobs.put(KEY, b"something")
        for key in ("sessions/s-contract/events/00000001", "sessions/s-contract/events", "functions/none"):
            assert not blobs.exists(key)
            for read in (blobs.get, partial(blobs.get_range, start=0, length=1)):
                with pytest.raises(CorruptPayload):
                    read(key)

    def test_a_prefix_is_deleted_with_all_below_it(self, blobs: BlobStore) -> None:
        """A session's blobs, and those of no other session."""
        gone = ["sessions/s-1/events/0", "sessions/s-1/events/1", "sessions/s-1/outcomes/0/1-token", "sessions/s-1/x"]
        kept = ["sessions/s-10/events/0", "sessions/s-2/events/0", "functions/s-1", "shared/0"]
        for key in gone + kept:
            blobs.put(key, key.encode())
        blobs.delete_prefix("sessions/s-1/")
        assert not any(blobs.exists(key) for key in gone)
        assert [blobs.get(key) for key in kept] == [key.encode() for key in kept]

    def test_keys_below_a_prefix(self, blobs: BlobStore) -> None:
        """In order, at any depth, and none of a name that merely begins alike."""
        below = [f"registry/pricing/{number:08d}" for number in range(1, 24)]
        for key in [*reversed(below), "registry/pricing-2/00000001", "registry/scoring/00000001", KEY]:
            blobs.put(key, b"{}")
        assert blobs.keys("registry/pricing/") == below
        assert blobs.keys("registry/") == sorted([*below, "registry/pricing-2/00000001", "registry/scoring/00000001"])
        assert blobs.keys("registry/nothing/") == []
        blobs.delete_prefix("registry/pricing/")
        assert blobs.keys("registry/pricing/") == []

    def test_a_prefix_may_be_deleted_twice(self, blobs: BlobStore) -> None:
        """Also one under which nothing ever was; the keys are free again."""
        blobs.put(KEY, b"one")
        for _ in range(2):
            blobs.delete_prefix("sessions/s-contract/")
        blobs.put(KEY, b"two")
        assert blobs.get(KEY) == b"two"

    def test_what_is_used_stays(self, blobs: BlobStore) -> None:
        """Age is counted from the last use; what must be kept is, however old it is."""
        for key in ("shared/a", "shared/b", "shared/deep/c", "shared-2/d"):
            blobs.put(key, key.encode())
        written = time.time()
        assert blobs.delete_unused("shared/", written - 3600, lambda _: False) == []
        later = written + 3600
        assert blobs.delete_unused("shared/", later, lambda key: key == "shared/b") == ["shared/a", "shared/deep/c"]
        assert [blobs.exists(key) for key in ("shared/a", "shared/b", "shared-2/d")] == [False, True, True]
        assert blobs.touch("shared/b")
        assert not blobs.touch("shared/a"), "it is not there"
        blobs.put("shared/a", b"anew")
        assert blobs.get("shared/a") == b"anew"

    def test_writers_at_once(self, blobs: BlobStore) -> None:
        """One of them is first, and everybody reads that one, whole."""
        versions = [bytes([number]) * (4 << 20) for number in range(4)]
        for key in (f"{KEY}-{number}" for number in range(10)):

            def write(data: bytes, key: str = key) -> bytes:
                blobs.put(key, data)
                return blobs.get(key)

            seen = together([partial(write, data) for data in versions])
            assert seen == [blobs.get(key)] * len(versions)
            assert blobs.get(key) in versions

    def test_readers_see_nothing_or_all(self, blobs: BlobStore) -> None:
        """A blob under its key is whole, also while it is written."""
        keys = [f"{KEY}-{number}" for number in range(10)]
        data = b"whole" * 100_000
        written = threading.Event()

        def read() -> set[bool]:
            seen = set()
            while True:
                last = written.is_set()
                for key in keys:
                    try:
                        seen.add(blobs.get(key) == data)
                    except CorruptPayload:
                        assert not last, f"{key} was written and is missing"
                if last:
                    return seen

        def write() -> set[bool]:
            try:
                for key in keys:
                    blobs.put(key, data)
            finally:
                written.set()
            return {True}

        assert together([read, read, write]) == [{True}] * 3


def _put_folder(blobs: BlobStore, folder: Path) -> str:
    with archived(folder) as archive:
        key = f"shared/{digest_of(folder)}"
        blobs.put_file(key, archive)
    return key
