"""What sessions refer to is where they run: shared inputs, callables and functions of each region.

What is signed has another name in each region, since each has keys of its own: the client that submits, and may use
both, verifies it with the one's and signs it with the other's. What is not signed has one name everywhere.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from htcgrid_core.codecs.buffers import Data
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.shared import FILE, SharedInput
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, SHARED_PURPOSE, unseal
from htcgrid_core.domain.errors import CorruptPayload, FunctionNotFound, GridUnavailable
from htcgrid_core.domain.function import FunctionSpec, FunctionVersion
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Asking
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.services.call_retries import with_retries

NAMES_KNOWN = 10_000  # of blobs; one that is forgotten is looked for again


class Copies:
    """Which region has what, under which name. May be used from many threads.

    Args:
        regions: all of them, in the order of the URL.
    """

    def __init__(self, regions: Sequence[Region], ask: Asking) -> None:
        self._regions = {region.name: region for region in regions}
        self._ask = ask
        self._lock = threading.Lock()
        self._names: dict[str, dict[str, str]] = {}  # by the name that clients know: by region, the name there
        self._versions: dict[str, FunctionVersion] = {}  # that sessions were made for, by their packages' keys

    # Storing

    def put(self, data: Data, codec: str) -> SharedInput:
        """Store a shared input in every region that answers; the others get it when a session there needs it.

        Raises:
            GridUnavailable: none does.
        """
        stored = self._ask(self._usable(), lambda _, gateway: gateway.put(data, codec)).some()
        names = {region: shared.digest for region, shared in stored.items()}
        return SharedInput(self._known_as(names), codec)

    def put_file(self, path: Path) -> SharedInput:
        """Store a file likewise."""
        stored = self._ask(self._usable(), lambda _, gateway: gateway.put_file(path)).some()
        names = {region: shared.digest for region, shared in stored.items()}
        return SharedInput(self._known_as(names), FILE)

    def put_callable(self, pickled: bytes) -> str:
        """Store a callable likewise."""
        return self._known_as(self._ask(self._usable(), lambda _, gateway: gateway.put_callable(pickled)).some())

    def _usable(self) -> list[Region]:
        return [region for region in self._regions.values() if not region.is_lost]

    def _known_as(self, names: dict[str, str]) -> str:
        """The name that clients use, which is that of the first region."""
        name = next(iter(names.values()))
        self._note(name, names)
        return name

    def _note(self, name: str, names: dict[str, str]) -> None:
        with self._lock:
            if len(self._names) >= NAMES_KNOWN:
                self._names.clear()
            self._names[name] = {**self._names.get(name, {}), **names}

    def note_version(self, version: FunctionVersion) -> None:
        """Sessions are about to be made for this version."""
        with self._lock:
            self._versions[version.blob] = version

    # For a session that is about to be submitted to a region

    def function(self, function: FunctionSpec, region: Region) -> FunctionSpec:
        """The same function as the region has it.

        Raises:
            FunctionNotFound: the region has not this version of it, or another one of this number.
            GridUnavailable: it is stored in a region that does not answer.
        """
        if function.blob is None:
            return function
        if function.package is not None:
            return self._version(function, region).spec()
        blob = self._name_in(region, function.blob, FUNCTION_PURPOSE)
        if function.sources is not None:
            self._name_in(region, f"shared/{function.sources}", "")
        return function.model_copy(update={"blob": blob})

    def _version(self, function: FunctionSpec, region: Region) -> FunctionVersion:
        package, blob = function.package, function.blob
        assert package is not None, "it is a deployed one"
        assert blob is not None, "so it has a package"
        with self._lock:
            wanted = self._versions.get(blob)
        found = region.call(lambda gateway: gateway.function(package.function, package.version))
        if found.blob != blob and (wanted is None or not found.asks_the_same_as(wanted)):
            raise FunctionNotFound(
                f"function {function.name} is another one in {region.name}: what was deployed there under this number "
                "differs. Deploy to all regions at once, by the URL that names them"
            )
        return found

    def events(self, events: Iterable[EncodedEvent], region: Region) -> Iterator[EncodedEvent]:
        """The same events, which refer to shared inputs as the region has them.

        Raises:
            GridUnavailable: one is stored in a region that does not answer.
        """
        known: dict[str, str] = {}
        for event in events:
            if not isinstance(event, SharingEvent):
                yield event
                continue
            data, names = event
            for name in names:
                if name not in known:
                    known[name] = self._shared_in(region, name)
                # A digest is as long as any other, and so stands in the place of one in JSON and in pickles.
                data = data.replace(_digest(name), _digest(known[name]))
            yield SharingEvent(data, tuple(sorted(known[name] for name in names)))

    def _shared_in(self, region: Region, name: str) -> str:
        digest, _, codec = name.partition(".")
        purpose = SHARED_PURPOSE if codec == "pickle" else ""
        with self._lock:
            there = self._names.get(digest, {}).get(region.name)
        if there is None:
            there = self._name_in(region, f"shared/{digest}", purpose).removeprefix("shared/")
        return f"{there}.{codec}"

    def _name_in(self, region: Region, key: str, purpose: str) -> str:
        """The key that a blob has in a region, into which it is copied if need be."""
        with self._lock:
            known = dict(self._names.get(key, {}))
        if region.name in known:
            return known[region.name]
        if region.call(lambda gateway: with_retries(gateway.plane, lambda: gateway.plane.blobs.exists(key))):
            self._note(key, {region.name: key})
            return key
        data = self._fetched(key, known, region, purpose)
        if data is None:
            return key  # whoever submits says that it is not there
        copied = region.call(lambda gateway: _stored(gateway, key, data, purpose))
        self._note(key, {region.name: copied})
        return copied

    def _fetched(self, key: str, known: dict[str, str], without: Region, purpose: str) -> bytes | None:
        """What is stored under a key in any other region, without its signature; None if it is in none."""
        others = [region for region in self._regions.values() if region is not without]

        def look(region: Region, gateway: InProcessGateway) -> bytes | None:
            at = known.get(region.name, key)
            if not with_retries(gateway.plane, lambda: gateway.plane.blobs.exists(at)):
                return None
            data = with_retries(gateway.plane, lambda: gateway.plane.blobs.get(at))
            if hashlib.sha256(data).hexdigest() != at.rpartition("/")[2]:
                raise CorruptPayload(f"blob {at} of {region.name} does not have the digest that its name says")
            return unseal(gateway.plane.keys, "", purpose, data) if purpose else data

        silent: list[GridUnavailable] = []
        for region in others:
            answers = self._ask([region], look)
            silent += answers.silent.values()
            if (data := answers.found.get(region.name)) is not None:
                return data
        if silent:
            raise GridUnavailable(f"{key} is not in {without.name}, and cannot be copied to it: {silent[0]}")
        return None


def _stored(gateway: InProcessGateway, key: str, data: bytes, purpose: str) -> str:
    if purpose == FUNCTION_PURPOSE:
        return gateway.put_callable(data)
    return f"shared/{gateway.put(data, 'pickle' if purpose else 'bytes').digest}"


def _digest(name: str) -> bytes:
    return name.partition(".")[0].encode()
