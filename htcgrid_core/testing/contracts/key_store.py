"""The contract of KeyStore: a key is one more, made whole or not at all, and nothing that is there is changed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from htcgrid_core.codecs.signing import KEY_BYTES
from htcgrid_core.ports.keyring import KeyStore
from htcgrid_core.testing.contracts.facts import PATIENCE_SECONDS

MANY = 12  # more than AWS lists in one page, and than sort alike as numbers and as texts
AT_ONCE = 4


class KeyStoreContract:
    """What the keyring relies on in a key store. Override ``opened``."""

    @pytest.fixture
    def opened(self) -> Callable[[], KeyStore]:
        """Opens the key store of one grid that nobody has rotated yet, each time anew."""
        raise NotImplementedError

    def test_a_grid_has_its_first_key(self, opened: Callable[[], KeyStore]) -> None:
        """A secret, which is the same for all, and whose signatures name no key."""
        (stored,) = opened().read().keys
        assert (stored.number, stored.key.is_first, stored.key.name) == (1, True, "")
        assert len(stored.key.secret) >= KEY_BYTES
        assert opened().read().keys == (stored,)

    def test_one_more(self, opened: Callable[[], KeyStore]) -> None:
        """It signs, names itself, and the first is what it was."""
        (first,) = opened().read().keys
        opened().make(2)
        found = opened().read()
        assert found.keys[0] == first
        assert (found.signer.number, found.signer.key.is_first) == (2, False)
        assert found.signer.key.secret != first.key.secret
        assert found.signer.key.name == found.signer.key.id != first.key.id

    def test_what_is_there_is_not_made_again(self, opened: Callable[[], KeyStore]) -> None:
        """Neither the first nor a later one."""
        opened().read()
        opened().make(2)
        before = opened().read()
        opened().make(1)
        opened().make(2)
        assert opened().read() == before

    def test_several_at_once_make_one(self, opened: Callable[[], KeyStore]) -> None:
        """Each of them finds the same one afterwards."""
        stores = [opened() for _ in range(AT_ONCE)]
        stores[0].read()
        found = []
        gate = threading.Barrier(AT_ONCE)

        def rotate(store: KeyStore) -> None:
            gate.wait(PATIENCE_SECONDS)
            store.make(2)
            found.append(store.read().keys)

        threads = [threading.Thread(target=rotate, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == AT_ONCE
        assert len(set(found)) == 1
        assert [stored.number for stored in found[0]] == [1, 2]

    def test_many_are_in_the_order_of_their_numbers(self, opened: Callable[[], KeyStore]) -> None:
        """The tenth comes after the second."""
        store = opened()
        store.read()
        for number in range(2, MANY + 1):
            store.make(number)
        assert [stored.number for stored in opened().read().keys] == list(range(1, MANY + 1))
        assert len({stored.key.id for stored in opened().read().keys}) == MANY

    def test_dropped(self, opened: Callable[[], KeyStore]) -> None:
        """Also the first, and what was dropped already."""
        store = opened()
        store.read()
        store.make(2)
        store.make(3)
        for _ in range(2):
            store.drop(1)
        assert [stored.number for stored in opened().read().keys] == [2, 3]
        store.drop(2)
        assert [stored.number for stored in opened().read().keys] == [3]

    def test_secrets_are_not_shown(self, opened: Callable[[], KeyStore]) -> None:
        """Not where a key is printed."""
        found = opened().read()
        assert repr(found.signer.key.secret) not in repr(found)
        assert found.signer.key.secret.hex() not in repr(found)
