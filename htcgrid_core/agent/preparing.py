"""From a claimed bundle to one whose function and shared inputs are verified and at hand."""

from __future__ import annotations

import hashlib

from htcgrid_core.agent.leased import Leased
from htcgrid_core.agent.recent import SharedRecent
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, PACKAGE_PURPOSE, SHARED_PURPOSE, unseal
from htcgrid_core.domain.errors import GRID_FAILURES, CorruptPayload
from htcgrid_core.domain.lease import LeaseClock
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import FunctionRef
from htcgrid_core.services.claim import Work
from htcgrid_core.services.persist import persist

BLOBS_VERIFIED = 1000  # that need not be read again


class Verifier:
    """Checks functions and shared inputs once each, before any worker loads them. May be used from many threads."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._paths: SharedRecent[str, str] = SharedRecent(BLOBS_VERIFIED)

    def function(self, spec: SessionSpec) -> str:
        """File with a Python callable's signed cloudpickle, or package; empty if the function is a reference."""
        key = spec.function.blob
        purpose = PACKAGE_PURPOSE if spec.function.package else FUNCTION_PURPOSE
        return "" if key is None else self._verified(key, purpose)

    def shared(self, references: tuple[str, ...]) -> dict[str, str]:
        """Digest to file, for ``digest.codec`` references."""
        found = {}
        for reference in references:
            digest, _, codec = reference.partition(".")
            found[digest] = self._verified(f"shared/{digest}", SHARED_PURPOSE if codec == "pickle" else "")
        return found

    def _verified(self, key: str, signed_for: str) -> str:
        path = self._paths.get(key)
        if path is None:
            data = persist(self._plane, lambda: self._plane.blobs.get(key))
            if hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]:
                raise CorruptPayload(f"blob {key} does not have the digest that its name says")
            if signed_for:
                unseal(self._plane.key, "", signed_for, data)
            path = self._paths.put(key, str(self._plane.blobs.path(key)))
        return path


def prepare(verifier: Verifier, work: Work, message: Message | None, clock: LeaseClock, slice_at: float) -> Leased:
    """A Leased for a claimed bundle; ``corrupt`` or ``failure`` says so if something is wrong or cannot be fetched."""
    spec, events = work.spec, work.events
    callable_path, shared, corrupt, failure = "", {}, work.corrupt, work.failure
    if events is not None:
        try:
            callable_path, shared = verifier.function(spec), verifier.shared(events.shared)
        except CorruptPayload as error:
            corrupt = str(error)
        except GRID_FAILURES as error:
            failure = error
    key = f"{spec.function.name}|{spec.function.blob}|{spec.function.environment}|{spec.memory_mb}"
    return Leased(
        work=work,
        function=FunctionRef(key, work.bundle.session_id, spec, callable_path),
        clock=clock,
        slice_at=slice_at,
        message=message,
        offsets=[] if events is None else events.offsets(),
        shared=shared,
        corrupt=corrupt,
        failure=failure,
    )
