"""Signatures: what was not written with this key, for this session and purpose, is never loaded."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.codecs.signing import SIGNATURE_BYTES, Key, seal, unseal
from htcgrid_core.domain.errors import CorruptPayload, SignatureInvalid
from htcgrid_core.ports.keyring import Keyring

KEY = b"a key of thirty-two bytes or so."
names = st.text(max_size=20)


@given(st.binary(min_size=1, max_size=64), names, names, st.binary(max_size=100))
def test_comes_back(key: bytes, session_id: str, purpose: str, body: bytes) -> None:
    sealed = seal(Key(key), session_id, purpose, body)
    assert len(sealed) == len(body) + SIGNATURE_BYTES
    assert unseal(Keyring.of(key), session_id, purpose, sealed) == body


@given(st.tuples(names, names, st.binary(max_size=50)), st.tuples(names, names, st.binary(max_size=50)))
def test_is_worth_nothing_elsewhere(one: tuple[str, str, bytes], other: tuple[str, str, bytes]) -> None:
    """Not even where names could be read as each other's: "a" + "bc" is not "ab" + "c"."""
    sealed = seal(Key(KEY), one[0], one[1], one[2])
    if one[:2] == other[:2]:
        assert unseal(Keyring.of(KEY), other[0], other[1], sealed) == one[2]
    else:
        with pytest.raises(SignatureInvalid):
            unseal(Keyring.of(KEY), other[0], other[1], sealed)


@pytest.mark.parametrize(
    ("key", "session_id", "purpose"),
    [(b"another key", "s-1", "events of f"), (KEY, "s-2", "events of f"), (KEY, "s-1", "outcomes of f"), (KEY, "", "")],
)
def test_wrong_key_session_or_purpose(key: bytes, session_id: str, purpose: str) -> None:
    with pytest.raises(SignatureInvalid, match="does not verify"):
        unseal(Keyring.of(key), session_id, purpose, seal(Key(KEY), "s-1", "events of f", b"body"))


def test_any_bit_flipped_and_any_tail_lost() -> None:
    sealed = seal(Key(KEY), "s-1", "events of f", b"some body")
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureInvalid):
            unseal(Keyring.of(KEY), "s-1", "events of f", bytes(damaged))
    for length in range(len(sealed)):
        with pytest.raises(SignatureInvalid):
            unseal(Keyring.of(KEY), "s-1", "events of f", sealed[:length])


def test_bytes_may_move_to_the_names() -> None:
    """The lengths are signed: what is cut from the body and put into the purpose does not verify."""
    sealed = seal(Key(KEY), "s-1", "purpose", b"xbody")
    with pytest.raises(SignatureInvalid):
        unseal(Keyring.of(KEY), "s-1", "purposex", sealed[:SIGNATURE_BYTES] + b"body")


def test_the_error_tells_nothing_of_the_key_or_the_body() -> None:
    sealed = seal(Key(KEY), "s-1", "events of f", b"a secret body")
    with pytest.raises(CorruptPayload) as caught:
        unseal(Keyring.of(b"another key"), "s-1", "events of f", sealed)
    assert "secret" not in str(caught.value)
    assert "key of thirty" not in str(caught.value)


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=100))
def test_is_an_hmac(key: bytes, body: bytes) -> None:
    """Keyed digests that are begun once and copied come to what the standard library computes."""
    head = b"".join(len(part).to_bytes(4, "big") + part for part in (b"htcgrid/1", b"s", b"p"))
    assert seal(Key(key), "s", "p", body)[:SIGNATURE_BYTES] == hmac.digest(key, head + body, "sha256")
