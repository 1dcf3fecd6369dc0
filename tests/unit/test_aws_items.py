"""Items of DynamoDB: what goes in comes out, and what it is charged as."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from htcgrid_core.adapters.aws.dynamodb import item_payloads, items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import attributes, values
from htcgrid_core.adapters.aws.dynamodb.capacity import item_bytes, read_units, write_units
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.domain.bundle import Bundle, Child, root_of
from htcgrid_core.domain.errors import ResultTooLarge
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.payload import Payload
from htcgrid_core.testing.contracts import given

SPEC = (
    b'{"function":{"name":"pricing.handler","blob":null,"call":"handler","environment":null,"package":null},'
    b'"codec":"json","name":"book","task_timeout_seconds":30.0,"timeout_seconds":null,"retry":{"max_attempts":3,'
    b'"backoff_base_seconds":1.0,"backoff_cap_seconds":60.0,"never_retry":[]},"max_failures":null,"memory_mb":null,'
    b'"priority":"high","pool":"default","labels":{"desk":"rates"},"parent_id":null,"retention_seconds":604800.0,'
    b'"bundle_size":null,"agents":12}'
)
PLACE = Place("s-book", "0123abcd", 16, 604800.0)


class TestAttributeValues:
    @examples(
        st.dictionaries(
            st.text(min_size=1, max_size=9),
            st.one_of(
                st.text(), st.binary(), st.booleans(), st.integers(-(2**53), 2**53),
                st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12), st.lists(st.text()),
            ),
        )
    )  # fmt: skip
    def test_there_and_back(self, item: dict[str, object]) -> None:
        assert values(attributes(item)) == item

    def test_nothing_else(self) -> None:
        with pytest.raises(TypeError, match="dict"):
            attributes({"a": {}})


class TestRows:
    @examples(st.binary(max_size=4000), st.booleans())
    def test_payloads(self, data: bytes, repeated: bool) -> None:
        payload = Payload.inline(data * 20 if repeated else data)
        assert item_payloads.payload_of(values(attributes(item_payloads.payload_attributes(payload)))) == payload

    def test_payloads_that_do_not_fit(self) -> None:
        """Never an item over 400 KB."""
        with pytest.raises(ResultTooLarge, match="blob store"):
            item_payloads.payload_attributes(Payload.inline(random.Random(1).randbytes(500_000)))

    def test_sessions(self) -> None:
        record = replace(given.record(name="book", deadline_at=given.NOW + 9.5), reason="")
        item = values(attributes(items.new_session(record, "0123abcd", 1)))
        assert items.record_of(record.session_id, item, []) == record

    def test_what_was_deflated_by_an_earlier_version(self) -> None:
        """The dictionary is part of the format: these bytes are of the first version."""
        written = bytes.fromhex(
            "01abc6166940072567e6a5d33cd692f2f3b371c69c31d8f14326e63232d333f0c61b302e8bb381515a9458024c0b548d45a35a00"
        )
        assert item_payloads.inflated(written, items._SPEC_DICTIONARY) == SPEC
        assert len(SPEC) > 5 * len(written)

    @examples(st.lists(st.integers(0, 10**7), min_size=1, max_size=300, unique=True), st.booleans())
    def test_children(self, indexes: list[int], leased: bool) -> None:
        indexes.sort()
        bundle = Bundle(
            "s-book",
            "00000017.0123456789abcdef",
            17,
            tuple(indexes),
            {indexes[0]: 2},
            crashes=1,
            not_before=5.5,
            rank=3.5,
        )
        lease = Lease(4, "token", 99.5, "agent-1") if leased else None
        item = values(attributes(items.new_child(Child(bundle, lease), 1)))
        assert items.bundle_of(PLACE, bundle.bundle_id, item, {}) == bundle
        assert items.lease_of(item) == lease

    @pytest.mark.parametrize("forged", ["", "x", "0", "00000001x", "0000000١", "-0000001", "000000001", "../0000.1"])
    def test_ids_that_are_none(self, forged: str) -> None:
        assert root_of(forged) == -1

    def test_neighbouring_roots_share_a_lane(self) -> None:
        lanes = [PLACE.lane_of(root) for root in range(8 * 16 * 2)]
        assert lanes == [lane for lane in range(16) for _ in range(8)] * 2


class TestCapacity:
    def test_sizes(self) -> None:
        """By the rules of DynamoDB's developer guide."""
        assert item_bytes({"pk": {"S": "é"}}) == 2 + 2
        assert item_bytes({"n": {"N": "27"}}) == 1 + 2
        assert item_bytes({"n": {"N": "-27"}}) == 1 + 3
        assert item_bytes({"b": {"B": b"abc"}}) == 1 + 3
        assert item_bytes({"f": {"BOOL": True}}) == 1 + 1
        assert item_bytes({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}) == 1 + 3 + (1 + 2) + (1 + 1)

    def test_writes(self) -> None:
        small, large = {"b": {"B": b"x" * 1023}}, {"b": {"B": b"x" * 1024}}
        assert write_units(None, small) == 1
        assert write_units(small, large) == write_units(large, small) == write_units(large, None) == 2
        assert write_units(small, large, transactional=True) == 4
        assert write_units(None, None) == 1  # refused: nothing was there

    def test_entries_of_indexes(self) -> None:
        """An entry that comes or goes is a write, one that stays is none."""
        live = attributes({"pk": "S#s", "sk": "S", "all": "S", "at": 1.5, "live": "L"})
        changed = {**live, "st": {"S": "RUNNING"}}
        ended = {**attributes({"ended": "E", "exp": 9.5}), **{name: live[name] for name in ("pk", "sk", "all", "at")}}
        assert write_units(None, live) == 1 + 2
        assert write_units(live, changed) == 1
        assert write_units(changed, ended) == 1 + 2
        assert write_units(ended, None) == 1 + 2

    def test_reads(self) -> None:
        assert [read_units(size) for size in (0, 4096, 4097, 16384)] == [1, 1, 2, 4]
        assert read_units(4097, consistent=False) == 1


def test_what_grows_beyond_its_size_is_given_up() -> None:
    """An item of 400 KB inflates to 400 MB at most, and no more of it is made than it says."""
    large = item_payloads.deflated(b"0" * (1 << 20))
    assert len(item_payloads.inflated(large, most=1 << 20)) == 1 << 20
    with pytest.raises(zlib.error, match="inflates to more than"):
        item_payloads.inflated(large, most=(1 << 20) - 1)
    assert item_payloads.payload_of({"p": large, "sz": 7}).data == b""
