"""The contract of Doorbell: a ring wakes those who listen, and never costs whoever rings."""

from __future__ import annotations

import select
import threading

import pytest

from htcgrid_core.ports.doorbell import COMMITS, WORK, Bell, Doorbell
from htcgrid_core.testing.contracts.facts import PATIENCE_SECONDS, eventually


def _has_bells(bell: Bell) -> bool:
    return bell.fileno() >= 0


class DoorbellContract:
    """What the services rely on in a doorbell. Override ``doorbell``.

    A grid without doorbells (``fileno`` is -1) keeps the contract by never ringing and never failing. A ring may be
    lost, so the suite rings until it is heard.
    """

    @pytest.fixture
    def doorbell(self) -> Doorbell:
        """A doorbell nobody listens to."""
        raise NotImplementedError

    def test_wakes_who_listens(self, doorbell: Doorbell) -> None:
        """Every listener of the topic, by ``wait`` and by its descriptor."""
        bells = [doorbell.listen(WORK), doorbell.listen(WORK, COMMITS)]
        try:
            for bell in bells:
                if not _has_bells(bell):
                    continue

                def rung(bell: Bell = bell) -> bool:
                    doorbell.ring(WORK)
                    return bool(select.select([bell.fileno()], [], [], 0.1)[0])

                assert eventually(rung, bool)
                assert bell.wait(PATIENCE_SECONDS)
        finally:
            for bell in bells:
                bell.close()

    def test_wakes_for_each_of_its_topics(self, doorbell: Doorbell) -> None:
        """One bell for several topics."""
        bell = doorbell.listen(WORK, COMMITS)
        try:
            for topic in (WORK, COMMITS):
                bell.clear()

                def rung(topic: str = topic) -> bool:
                    doorbell.ring(topic)
                    return bell.wait(0.1)

                assert eventually(rung, bool) or not _has_bells(bell)
        finally:
            bell.close()

    def test_wakes_a_waiter_in_another_thread(self, doorbell: Doorbell) -> None:
        """The ring comes while the other waits."""
        bell = doorbell.listen(COMMITS)
        heard: list[bool] = []
        waiter = threading.Thread(target=lambda: heard.append(bell.wait(PATIENCE_SECONDS)))
        try:
            if not _has_bells(bell):
                return
            waiter.start()
            while waiter.is_alive():
                doorbell.ring(COMMITS)
                waiter.join(0.02)
            assert heard == [True]
        finally:
            bell.close()

    def test_does_not_wake_for_other_topics(self, doorbell: Doorbell) -> None:
        """Nor before anything rang."""
        bell = doorbell.listen(WORK)
        try:
            assert not bell.wait(0.0)
            doorbell.ring(COMMITS)
            assert not bell.wait(0.05)
        finally:
            bell.close()

    def test_rings_are_one_ring(self, doorbell: Doorbell) -> None:
        """However often it rang, one wait or one clear forgets it all, and ringing never blocks."""
        bell = doorbell.listen(WORK)
        try:
            for forget in (lambda: bell.wait(1.0), bell.clear):
                for _ in range(3000):
                    doorbell.ring(WORK, WORK, WORK)
                forget()
                assert not bell.wait(0.0)
        finally:
            bell.close()

    def test_nobody_listens(self, doorbell: Doorbell) -> None:
        """Ringing for nobody, or for nothing, is fine."""
        doorbell.ring(WORK, COMMITS)
        doorbell.ring()

    def test_who_left_is_not_rung(self, doorbell: Doorbell) -> None:
        """Closing one bell leaves the others, and closing twice is fine."""
        left, stays = doorbell.listen(WORK), doorbell.listen(WORK)
        try:
            for _ in range(2):
                left.close()

            def rung() -> bool:
                doorbell.ring(WORK)
                return stays.wait(0.1)

            assert eventually(rung, bool) or not _has_bells(stays)
        finally:
            stays.close()

    def test_listeners_come_and_go_while_it_rings(self, doorbell: Doorbell) -> None:
        """A ring never fails, whoever opens or closes a bell at that moment; nor do they."""
        stop = threading.Event()
        problems: list[Exception] = []

        def come_and_go() -> None:
            try:
                while not stop.is_set():
                    doorbell.listen(WORK, COMMITS).close()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the test's result
                problems.append(error)

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2000):
                doorbell.ring(WORK, COMMITS)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert problems == []
