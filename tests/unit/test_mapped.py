"""Pickles whose buffers are used where they are; and read by every release as pickles."""

from __future__ import annotations

import errno
import hashlib
import mmap
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.agent.workers import verified_files
from htcgrid_core.codecs import mapped
from htcgrid_core.codecs.buffers import joined
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.codecs.values import LARGE_BUFFER_BYTES, encode_pickle, pickle_parts

SIZE = LARGE_BUFFER_BYTES + 3


class Holder:
    """Holds a buffer as NumPy's arrays do: what it is restored with is that buffer, or a copy."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return Holder, (pickle.PickleBuffer(self.buffer),)


def values(padding: int) -> dict[str, Any]:
    """Buffers of both kinds, small and large, one of them twice, among other things."""
    writable, readable = Holder(bytearray(b"w" * SIZE)), Holder(b"r" * (SIZE + 1))
    return {
        "padding": "x" * padding, "writable": writable, "readable": readable, "small": Holder(bytearray(b"s" * 10)),
        "bytes": b"b" * SIZE, "text": "t" * SIZE, "again": writable,
    }  # fmt: skip


def as_stored(value: Any, path: Path) -> memoryview:
    """The map of a file with a signature and a value."""
    path.write_bytes(bytes(SIGNATURE_BYTES) + joined(mapped.in_place(pickle_parts(value))))
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[SIGNATURE_BYTES:]


@pytest.mark.parametrize("padding", range(mapped.ALIGNED_BYTES + 1))
def test_buffers_are_views_and_aligned(tmp_path: Path, padding: int) -> None:
    wanted = values(padding)
    stored = as_stored(wanted, tmp_path / "value")
    found = mapped.load(stored)
    for name in ("writable", "readable"):
        buffer = found[name].buffer
        assert isinstance(buffer, memoryview)
        assert buffer.obj is stored.obj
        assert buffer.readonly
        assert bytes(buffer) == bytes(wanted[name].buffer)
    assert found["again"] is found["writable"]
    assert bytes(found["small"].buffer) == b"s" * 10
    assert [found[name] for name in ("padding", "bytes", "text")] == ["x" * padding, b"b" * SIZE, "t" * SIZE]
    whole = (tmp_path / "value").read_bytes()
    for letter in (b"w", b"r"):
        assert whole.index(letter * SIZE) % mapped.ALIGNED_BYTES == 0


def test_every_release_reads_them(tmp_path: Path) -> None:
    found = pickle.loads(as_stored(values(5), tmp_path / "value"))
    assert found["writable"].buffer == bytearray(b"w" * SIZE)
    assert found["readable"].buffer == b"r" * (SIZE + 1)
    assert found["again"] is found["writable"]


@pytest.mark.parametrize("value", [None, 5, "text", b"b" * SIZE, [1, {"a": "t" * SIZE}]])
def test_what_has_no_buffers_is_a_pickle_and_no_more(value: Any) -> None:
    made = mapped.in_place(pickle_parts(value))
    assert joined(made) == encode_pickle(value)
    assert mapped.load(memoryview(joined(made))) == value


class TestMoved:
    """What an agent moves, so that buffers are aligned in the blob of many results."""

    @pytest.mark.parametrize("before", range(mapped.ALIGNED_BYTES))
    @pytest.mark.parametrize("moved_before", [False, True])
    def test_buffers_are_views_and_aligned(self, before: int, moved_before: bool) -> None:
        made = joined(mapped.in_place(pickle_parts(values(3))))
        if moved_before:
            made = joined(mapped.moved(made, 7))
        stored = joined(mapped.moved(memoryview(made), before))
        pages = mmap.mmap(-1, before + len(stored))
        pages[before:] = stored
        found = mapped.load(memoryview(pages)[before:])
        for name, size in (("writable", SIZE), ("readable", SIZE + 1)):
            buffer = found[name].buffer
            assert isinstance(buffer, memoryview)
            assert buffer.obj is pages
            assert not buffer.readonly
            assert bytes(buffer) == name[:1].encode() * size
        assert pickle.loads(stored)["readable"].buffer == b"r" * (SIZE + 1)

    def test_what_is_not_aligned_is_copied(self) -> None:
        made = joined(mapped.in_place(pickle_parts(values(3))))
        pages = mmap.mmap(-1, 1 + len(made))
        pages[1:] = made
        found = mapped.load(memoryview(pages)[1:])
        assert isinstance(found["writable"].buffer, bytearray)
        assert found["writable"].buffer == b"w" * SIZE

    @given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, mapped.ALIGNED_BYTES - 1))
    def test_bytes_of_any_kind(self, data: bytes, count: int, by: int) -> None:
        """As a worker may send them: they stay, or become longer by opcodes that do nothing."""
        made = data + mapped._END.pack(count, mapped._MAGIC)
        stored = joined(mapped.moved(made, by))
        assert stored == made or (
            len(stored) - len(made) in (by, mapped.ALIGNED_BYTES + 1) and stored[-8:] == made[-8:]
        )


def test_in_parts_it_is_byte_by_byte_the_same() -> None:
    value = values(7)
    assert joined(pickle_parts(value)) == pickle.dumps(value, protocol=5)
    assert len(pickle_parts(value)) > 1


class TestFiles:
    """What is mapped, where it can be."""

    @pytest.fixture
    def digest(self, tmp_path: Path) -> str:
        (tmp_path / "value").write_bytes(b"v" * SIZE)
        return hashlib.sha256(b"v" * SIZE).hexdigest()

    def test_many_maps_leave_half_of_the_descriptors_to_others(self, tmp_path: Path, digest: str) -> None:
        """A task's event may hold any number of arrays that were shared."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with open(tmp_path / "value", "rb") as lowest:
            few = 2 * lowest.fileno() + 40
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        try:
            held = [verified_files.mapped(str(tmp_path / "value"), digest, "shared input") for _ in range(few)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert {isinstance(data.obj, mmap.mmap) for data in held} == {True, False}
        assert all(data.readonly and data == b"v" * SIZE for data in held)

    def test_a_file_system_without_maps(self, tmp_path: Path, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> mmap.mmap:
            raise OSError(errno.ENODEV, "No such device")

        monkeypatch.setattr(mmap, "mmap", refuse)
        assert verified_files.mapped(str(tmp_path / "value"), digest, "shared input") == b"v" * SIZE
