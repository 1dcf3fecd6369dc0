"""The contract of a gateway: functions, callables and shared inputs, which sessions refer to."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import SharingEvent
from htcgrid_core.codecs.packages import Entry, Packed, pack
from htcgrid_core.codecs.values import decode_json, encode_json
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.gateway_given import UNKNOWN, GivenGateway, spec, submitted


def package(text: str = "return 2 * event") -> Packed:
    """A package of one handler."""
    source = f"def handler(event, context):\n    {text}\n".encode()
    return pack([Entry("app.py", False, iter([source]))])


def draft(name: str, **options: object) -> FunctionVersion:
    """A version of it that is to be deployed."""
    sizes = {"files": 0, "unpacked_bytes": 0, "package_bytes": 0}
    drafted = {"function": name, "version": 1, "handler": "app.handler", "runtime": "python3.11", **sizes, **options}
    return FunctionVersion.model_validate({"blob": "", "content": "", **drafted})


class GatewayFunctionsContract(GivenGateway):
    """What is stored is found again by what was returned for it, and versions are numbered."""

    @pytest.fixture
    def name(self) -> str:
        """A function's name that is nobody else's."""
        return f"f-{uuid.uuid4().hex[:12]}"

    @pytest.mark.parametrize("codec", ["json", "pickle", "bytes"])
    def test_shared_inputs(self, gateway: Gateway, codec: str) -> None:
        """The same bytes are the same input."""
        data = {"json": b"[1,2]", "pickle": pickle.dumps([1, 2]), "bytes": b"12"}[codec]
        shared = gateway.put(data, codec)
        assert shared.codec == codec
        assert gateway.put(data, codec) == shared
        assert gateway.put(data + b" ", codec) != shared

    def test_shared_files(self, gateway: Gateway, tmp_path: Path) -> None:
        """The same bytes are the same file; of a folder that is told."""
        path = tmp_path / "model"
        path.write_bytes(b"x" * 100_000)
        staged = gateway.put_file(path)
        assert staged.codec == "file"
        assert gateway.put_file(path) == staged
        assert gateway.put(path.read_bytes(), "bytes").digest == staged.digest
        event = encode_json({"model": staged})
        record = submitted(gateway, [event], sent=[SharingEvent(event, (staged.name,))])
        assert decode_json(next(gateway.events(record)))["model"] == staged.to_json()
        with pytest.raises(InvalidInput, match="is a folder"):
            gateway.put_file(tmp_path)

    def test_shared_inputs_in_another_codec(self, gateway: Gateway) -> None:
        """Nobody could read them."""
        with pytest.raises(InvalidInput, match="yaml"):
            gateway.put(b"a: 1", "yaml")

    def test_shared_inputs_reach_sessions(self, gateway: Gateway) -> None:
        """A session that refers to one is taken."""
        shared = gateway.put(b"[1,2]", "json")
        event = encode_json({"market": shared})
        record = submitted(gateway, [event], sent=[SharingEvent(event, (f"{shared.digest}.{shared.codec}",))])
        assert record.counters.total == 1
        assert decode_json(next(gateway.events(record)))["market"] == shared.to_json()

    def test_callables(self, gateway: Gateway) -> None:
        """The same pickle is stored once."""
        blob = gateway.put_callable(pickle.dumps(len))
        assert gateway.put_callable(pickle.dumps(len)) == blob
        assert gateway.put_callable(pickle.dumps(sum)) != blob

    def test_versions(self, gateway: Gateway, name: str) -> None:
        """Numbered as they come; the latest again if it asks for the same."""
        first = gateway.deploy(draft(name), package())
        assert (first.function, first.version, first.files) == (name, 1, 1)
        assert first.deployed_at
        assert first.deployed_by
        assert gateway.deploy(draft(name), package()) == first
        second = gateway.deploy(draft(name), package("return event"))
        third = gateway.deploy(draft(name, memory_mb=256), package("return event"))
        assert [second.version, third.version] == [2, 3]
        assert gateway.functions(name) == [first, second, third]
        assert third in gateway.functions()
        assert gateway.function(name) == third
        assert gateway.function(name, 1) == first

    @pytest.mark.parametrize(
        "options",
        [
            {"runtime_client": True, "concurrency": 4, "isolation": "session"},
            {"runtime": "provided.al2023", "handler": "bootstrap", "result_format": "text", "concurrency": 64},
        ],
        ids=["python", "provided"],
    )
    def test_every_option_of_a_version_is_kept(self, gateway: Gateway, name: str, options: dict[str, Any]) -> None:
        """Whichever way it came: one that was lost would be run in another way than was asked for."""
        schemas = {"events_schema": {"type": "integer"}, "results_schema": {"type": ["integer", "string"]}}
        sizes = {"timeout_seconds": 7.0, "memory_mb": 300, "cpus": 0.5, "description": "of a book"}
        asked = {**schemas, **sizes, **options}
        for found in (gateway.deploy(draft(name, **asked), package()), gateway.function(name)):
            assert {option: getattr(found, option) for option in asked} == asked

    def test_a_session_keeps_its_version(self, gateway: Gateway, name: str) -> None:
        """Whoever submits under its token again means the version that it has."""
        first = gateway.deploy(draft(name), package())
        token = uuid.uuid4().hex
        assert gateway.function(name, session_id=session_id_of(token)) == first, "not submitted yet"
        record = submitted(gateway, [1], token=token, of=spec(first.spec()))
        second = gateway.deploy(draft(name), package("return event"))
        assert gateway.function(name, session_id=record.session_id) == first
        assert gateway.function(name, 2, session_id=record.session_id) == second
        assert gateway.function(name, session_id=UNKNOWN) == second

    def test_removed_versions(self, gateway: Gateway, name: str) -> None:
        """One of them or all, and their numbers are not given again."""
        for text in ("return 1", "return 2", "return 3"):
            gateway.deploy(draft(name), package(text))
        assert gateway.remove_function(name, 2) == [2]
        assert [version.version for version in gateway.functions(name)] == [1, 3]
        assert gateway.remove_function(name) == [1, 3]
        assert gateway.functions(name) == []
        assert gateway.deploy(draft(name), package()).version == 4

    def test_functions_that_are_not_there(self, gateway: Gateway, name: str) -> None:
        """Not at all, or not in this version."""
        for missing in (name, "no name", "../x"):
            with pytest.raises(FunctionNotFound):
                gateway.function(missing)
        with pytest.raises(FunctionNotFound):
            gateway.remove_function(name)
        gateway.deploy(draft(name), package())
        for call in (gateway.function, gateway.remove_function):
            with pytest.raises(FunctionNotFound):
                call(name, 7)

    def test_variables_that_the_runtime_sets(self, gateway: Gateway, name: str) -> None:
        """Nothing is registered."""
        with pytest.raises(InvalidInput, match="AWS_LAMBDA_RUNTIME_API"):
            gateway.deploy(draft(name, variables={"AWS_LAMBDA_RUNTIME_API": "mine"}), package())
        assert gateway.functions(name) == []
