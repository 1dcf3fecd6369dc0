"""From a claimed bundle to one whose function and shared inputs are verified and at hand."""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from htcgrid_core.agent.loop.leased_bundle import LeasedBundle
from htcgrid_core.agent.lru import SharedLruCache
from htcgrid_core.codecs.shared import FOLDER
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, PACKAGE_PURPOSE, SHARED_PURPOSE, SIGNATURE_BYTES, verify
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GRID_FAILURES, CorruptPayload, SignatureInvalid
from htcgrid_core.domain.lease import LeaseClock
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.traces import LeaseTimes
from htcgrid_core.ports.worker import FunctionRef, OwnGrid
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.claim import Work
from htcgrid_core.services.event_schemas import Schemas

if TYPE_CHECKING:
    from pathlib import Path

READ_BYTES = 1 << 20
BLOBS_VERIFIED = 1000  # that need not be read again


class BlobVerifier:
    """Checks functions and shared inputs once each, before any worker loads them. May be used from many threads."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._schemas = Schemas(plane)
        self.grid = OwnGrid(plane.url, plane.identity, plane.region)
        self._verified_paths: SharedLruCache[str, str] = SharedLruCache(BLOBS_VERIFIED)
        self._touched_at: SharedLruCache[str, float] = SharedLruCache(BLOBS_VERIFIED)

    def function(self, spec: SessionSpec) -> str:
        """File with a Python callable's signed cloudpickle, or package; empty if the function is a reference."""
        key = spec.function.blob
        purpose = PACKAGE_PURPOSE if spec.function.package else FUNCTION_PURPOSE
        return "" if key is None else self._verified(key, purpose)

    def sources(self, spec: SessionSpec) -> str:
        """File with the source lines of a Python callable; empty if it has none, or they are not there any more.

        Its tasks are run without them: they are for people who read tracebacks.
        """
        digest = spec.function.sources
        if digest is None:
            return ""
        with contextlib.suppress(CorruptPayload):
            return self._verified(f"shared/{digest}", "")
        return ""

    def results_schema(self, spec: SessionSpec) -> str:
        """What the results of a deployed function must fit, as JSON text; empty for whatever they are."""
        return self._schemas.of_results(spec)

    def shared(self, references: tuple[str, ...]) -> dict[str, str]:
        """Each ``digest.codec`` reference's file or folder; those that are pickles are signed."""
        found = {}
        for reference in references:
            digest, _, codec = reference.partition(".")
            key = f"shared/{digest}"
            if codec == FOLDER:
                found[reference] = self._folder(key)
            else:
                found[reference] = self._verified(key, SHARED_PURPOSE if codec == "pickle" else "")
        return found

    def keep(self, leases: Sequence[LeasedBundle]) -> None:
        """What the tasks of bundles may still read stays on this machine's disk, and in the grid. In any thread."""
        for leased in leases:
            work = leased.work
            if work.events is not None and not leased.corrupt:
                with contextlib.suppress(CorruptPayload):  # the tasks that read it will say so
                    self.function(work.spec)
                    self.sources(work.spec)
                    self.shared(work.events.shared)

    def _verified(self, key: str, signed_for: str) -> str:
        """The blob's file, which counts as used now; read the first time, and if it is fetched again."""
        path = with_retries(self._plane, lambda: self._plane.blobs.path(key))
        name = str(path)
        if self._verified_paths.get(key) != name:
            self._verify(key, path, signed_for)
            self._verified_paths.put(key, name)
        self._note_use(key)
        return name

    def _folder(self, key: str) -> str:
        """The folder of a staged one, whose archive was verified as it was unpacked; the blob counts as used now."""
        path = with_retries(self._plane, lambda: self._plane.blobs.folder(key))
        self._note_use(key)
        return str(path)

    def _verify(self, key: str, path: Path, signed_for: str) -> None:
        """Read a blob once, whatever it takes of memory elsewhere, and look at all of it."""
        digest = hashlib.sha256()

        def noted(data: Iterable[bytes]) -> Iterator[bytes]:
            for part in data:
                digest.update(part)
                yield part

        try:
            with open(path, "rb", buffering=0) as file:
                parts = noted(iter(partial(file.read, READ_BYTES), b""))
                if signed_for:
                    signature = b"".join(noted((file.read(SIGNATURE_BYTES),)))
                    verify(self._plane.keys, "", signed_for, signature, parts)
                else:
                    deque(parts, maxlen=0)
        except OSError as error:
            raise CorruptPayload(f"blob {key} is missing, or cannot be read: {error}") from error
        except SignatureInvalid:
            _check_name(key, digest.hexdigest())  # that it is another's bytes altogether says more
            raise
        _check_name(key, digest.hexdigest())

    def _note_use(self, key: str) -> None:
        now = self._plane.clock.monotonic()
        if now - (self._touched_at.get(key) or float("-inf")) >= limits.SWEEP_SECONDS:
            with contextlib.suppress(*GRID_FAILURES):  # it is done again in an hour, and a month too late would do harm
                self._plane.blobs.touch(key)
            self._touched_at.put(key, now)


def _check_name(key: str, digest: str) -> None:
    if digest != key.rpartition("/")[2]:
        raise CorruptPayload(f"blob {key} does not have the digest that its name says")


def prepare(
    verifier: BlobVerifier,
    work: Work,
    message: Message | None,
    clock: LeaseClock,
    times: LeaseTimes,
    traced_every: int | None = None,
) -> LeasedBundle:
    """A claimed bundle as it is held; ``corrupt`` or ``failure`` says if something is wrong or cannot be fetched.

    Args:
        traced_every: each how manieth task is recorded in its session's trace; see ``FunctionRef``.
    """
    spec, events = work.spec, work.events
    callable_path, sources_path, schema, shared, corrupt, failure = "", "", "", {}, work.corrupt, work.failure
    if events is not None:
        try:
            callable_path, shared = verifier.function(spec), verifier.shared(events.shared)
            sources_path, schema = verifier.sources(spec), verifier.results_schema(spec)
        except CorruptPayload as error:
            corrupt = str(error)
        except GRID_FAILURES as error:
            failure = error
    return LeasedBundle(
        work=work,
        function=FunctionRef(
            spec.worker_key(work.bundle.session_id),
            work.bundle.session_id,
            spec,
            callable_path,
            sources_path,
            grid=verifier.grid,
            traced_every=traced_every,
            results_schema=schema,
        ),
        clock=clock,
        times=times,
        message=message,
        offsets=[] if events is None else events.offsets(),
        shared=shared,
        corrupt=corrupt,
        failure=failure,
    )
