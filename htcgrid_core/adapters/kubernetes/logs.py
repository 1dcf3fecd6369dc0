"""The logs of a pool's pods: what is there, or what comes, of pods that come too."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from htcgrid_core.adapters.kubernetes.cluster import Cluster, TooOld
from htcgrid_core.adapters.kubernetes.pods import Pod, pod_of
from htcgrid_core.domain.errors import GridError, GridUnavailable

AGAIN_SECONDS = 2.0  # after which a log that ended, or that is not there yet, is asked for again
LOST_SECONDS = 60.0  # for which the cluster may not answer while it is followed
SKEW_SECONDS = 60  # by which clocks may differ; lines that come again for it are known by their stamps
_STAMP = re.compile(r"(\S+?)(?:\.(\d+))?Z (.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a pod's log."""

    pod: str
    text: str


def some_pods(cluster: Cluster, selector: str, most: int) -> tuple[list[str], int]:
    """Names of those pods that are most worth looking at, and how many there are: not well first, then newest."""
    pods = [pod_of(each) for each in cluster.pods(selector).items]
    return _begun(pods)[:most], len(pods)


def _begun(pods: Iterable[Pod]) -> list[str]:
    """Names of pods that can have a log, those first that are most worth looking at."""
    begun = [pod for pod in pods if pod.state != "pending"]
    begun.sort(key=lambda pod: (pod.state == "ready", -pod.restarts, -pod.created_at))
    return [pod.name for pod in begun]


def read(
    cluster: Cluster, pods: list[str], without: Callable[[str, GridError], None], **options: Any
) -> Iterator[Line]:
    """What is in the logs, pod by pod.

    Args:
        without: told of each pod whose log cannot be had, and why: its container has not begun, or never ended before,
            or its node does not answer.
        options: of Kubernetes' API: ``tail_lines``, ``since_seconds``, ``previous``.

    Raises:
        GridUnavailable: no log can be had.
    """
    failed = 0
    for pod in pods:
        try:
            with cluster.log(pod, **options) as lines:
                yield from (Line(pod, text) for text in lines)
        except GridUnavailable as error:
            failed += 1
            if failed == len(pods):
                raise
            without(pod, error)


@dataclass
class Follower:
    """Follows the logs of up to ``most`` pods of a selector, and of those that come when others have gone.

    Attributes:
        tail: lines of each log to begin with.
    """

    cluster: Cluster
    selector: str
    most: int
    tail: int
    _begun: dict[str, None] = field(default_factory=dict)  # pods that are there, in the order in which they are chosen
    _followed: set[str] = field(default_factory=set)
    _choosing: threading.Lock = field(default_factory=threading.Lock)
    _lines: queue.SimpleQueue[Line | Exception] = field(default_factory=queue.SimpleQueue)

    def lines(self) -> Iterator[Line]:
        """As they come, without an end.

        Raises:
            AccessDenied, GridUnavailable: the cluster does not let them be read (any more).
        """
        threading.Thread(target=self._watch, name="htcgrid-pods", daemon=True).start()
        while True:
            found = self._lines.get()
            if isinstance(found, Exception):
                raise found
            yield found

    def _watch(self) -> None:
        """Keep to what is there: list, watch from there on, and list again once that has been forgotten or was lost."""
        lost_at = float("-inf")  # at first nothing is lost that could come back
        try:
            while True:
                try:
                    version = self._list()
                    lost_at = float("inf")
                    while True:
                        version = self._changes_from(version)
                except TooOld:
                    pass
                except GridUnavailable:
                    lost_at = min(lost_at, time.monotonic())
                    if time.monotonic() - lost_at > LOST_SECONDS:
                        raise
                time.sleep(AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001 - raised by lines(), which would wait in vain
            self._lines.put(error)

    def _list(self) -> str:
        found = self.cluster.pods(self.selector)
        with self._choosing:
            self._begun = dict.fromkeys(_begun(pod_of(each) for each in found.items))
            self._choose()
        return found.version

    def _changes_from(self, version: str) -> str:
        for change in self.cluster.changes(self.selector, version):
            version = change.object["metadata"]["resourceVersion"]
            if change.kind != "BOOKMARK":
                with self._choosing:
                    pod = pod_of(change.object)
                    if change.kind == "DELETED":
                        self._begun.pop(pod.name, None)
                    elif pod.state != "pending":
                        self._begun.setdefault(pod.name)
                    self._choose()
        return version

    def _choose(self) -> None:
        """Follow more pods as long as there are any, and places."""
        for pod in self._begun:
            if len(self._followed) >= self.most:
                return
            if pod not in self._followed:
                self._followed.add(pod)
                threading.Thread(target=self._follow, args=(pod,), daemon=True).start()

    def _follow(self, pod: str) -> None:
        """Until the pod is gone: a log ends with its container, or with a connection, and then is asked for again."""
        last, begin = "", {"tail_lines": self.tail}
        while pod in self._begun:
            shown = last
            try:
                with self.cluster.log(pod, follow=True, timestamps=True, **begin) as lines:
                    for line in lines:
                        stamp, text = _stamped(line)
                        if stamp > shown or not stamp:  # else it was shown before the connection was lost
                            last = stamp or last
                            self._lines.put(Line(pod, text))
            except GridUnavailable:
                pass  # its container waits to begin, or the server is gone for a while: the watch tells if it stays so
            except Exception as error:  # noqa: BLE001 - raised by lines()
                self._lines.put(error)
                return
            begin = {"since_seconds": _seconds_since(last)} if last else begin
            time.sleep(AGAIN_SECONDS)
        with self._choosing:
            self._followed.discard(pod)
            self._choose()


def _stamped(line: str) -> tuple[str, str]:
    """Time, as text that can be compared, and what was said."""
    found = _STAMP.fullmatch(line)
    if found is None:
        return "", line
    at, fraction, text = found.groups()
    return f"{at}.{(fraction or '').ljust(9, '0')}", text


def _seconds_since(stamp: str) -> int:
    at = datetime.fromisoformat(stamp.partition(".")[0]).replace(tzinfo=UTC)
    return max(0, int((datetime.now(UTC) - at).total_seconds())) + SKEW_SECONDS
