"""Functions named at submit are looked for at once, without running their module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.client.callables import from_callable
from htcgrid_core.client.environment import this_environment
from htcgrid_core.client.handlers import reference
from htcgrid_core.codecs.signing import unseal
from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput
from htcgrid_core.domain.function import Environment
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from tests.planes import KEY, StillDeployment

HERE = Environment(python=sys.executable, cwd="/")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what was imported from it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


class TestReference:
    @pytest.mark.parametrize(
        "name", ["", "handler", ".handler", "module.", "a..b", "module:handler", "a/b.c", "1a.b", "a.b c", "../a.b"]
    )
    @pytest.mark.parametrize("environment", [None, HERE])
    def test_what_is_no_name(self, name: str, environment: Environment | None) -> None:
        with pytest.raises(FunctionNotFound, match=r"module\.handler"):
            reference(name, environment)

    @pytest.mark.parametrize(
        "source",
        [
            "def handler(event, context): ...",
            "async def handler(event): ...",
            "class handler: ...",
            "handler = print",
            "handler: object = print",
            "from math import sqrt as handler",
            "import math as handler",
            "if True:\n    def handler(): ...",
            "try:\n    from math import handler\nexcept ImportError:\n    handler = print",
            "from os.path import *",
            "def __getattr__(name): ...",
            "a, handler = 1, print",
        ],
    )
    def test_what_there_is(self, folder: Path, source: str) -> None:
        (folder / "f_there.py").write_text("raise RuntimeError('nobody may run this')\n" + source)
        spec = reference("f_there.handler", HERE)
        assert (spec.name, spec.blob, spec.call, spec.environment) == ("f_there.handler", None, "handler", HERE)
        assert "f_there" not in sys.modules

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("def other(): ...", "no function 'handler'"),
            ("", "no function 'handler'"),
            ("x = handler", "no function 'handler'"),
            ("def (", "cannot be parsed"),
        ],
    )
    def test_what_there_is_not(self, folder: Path, source: str, says: str) -> None:
        (folder / "f_missing.py").write_text(source)
        with pytest.raises(FunctionNotFound, match=says):
            reference("f_missing.handler", HERE)

    def test_no_such_module(self) -> None:
        with pytest.raises(FunctionNotFound, match=r"no module 'f_nobody'"):
            reference("f_nobody.handler", HERE)
        with pytest.raises(FunctionNotFound, match=r"f_nobody"):
            reference("f_nobody.inner.handler", HERE)
        with pytest.raises(FunctionNotFound):
            reference("json.nobody.handler", HERE)

    def test_a_package_that_does_not_import(self, folder: Path) -> None:
        """Its parent has to run to be looked into; whatever it raises is why the function is not found."""
        (folder / "f_broken").mkdir()
        (folder / "f_broken" / "__init__.py").write_text("raise RuntimeError('no such luck')")
        (folder / "f_broken" / "inner.py").write_text("def handler(): ...")
        with pytest.raises(FunctionNotFound, match="no such luck"):
            reference("f_broken.inner.handler", HERE)

    def test_modules_that_are_loaded_are_asked(self) -> None:
        assert reference("math.sqrt", HERE).name == "math.sqrt"
        assert reference("os.path.join", HERE).name == "os.path.join"
        with pytest.raises(FunctionNotFound, match="no function 'pi'"):
            reference("math.pi", HERE)
        with pytest.raises(FunctionNotFound, match="no function 'sqroot'"):
            reference("math.sqroot", HERE)

    def test_elsewhere_nobody_can_tell(self) -> None:
        """A grid of other machines finds out by itself."""
        assert reference("f_nobody.handler", None).name == "f_nobody.handler"


def plain(event: Any) -> Any:
    return event


def with_context(event: Any, context: Any) -> Any:
    return event, context


def with_another(event: Any, other: Any = 2) -> Any:
    return event, other


def with_any(*args: Any) -> Any:
    return args


class TestCallables:
    @pytest.mark.parametrize(
        ("function", "call"),
        [
            (plain, "event"),
            (with_context, "handler"),
            (with_another, "event"),
            (with_any, "event"),
            (len, "event"),
            (dict, "event"),
        ],
    )
    def test_how_they_are_called(self, plane: Plane, function: Callable[..., Any], call: str) -> None:
        assert from_callable(InProcessGateway(StillDeployment(plane)), function, None).call == call

    def test_are_stored_once_signed_under_their_digest(self, plane: Plane) -> None:
        specs = {from_callable(InProcessGateway(StillDeployment(plane)), plain, None).blob for _ in range(3)}
        assert len(specs) == 1
        (key,) = specs
        assert key is not None
        assert key.startswith("functions/")
        assert unseal(Keyring.of(KEY), "", "function", plane.blobs.get(key))

    def test_what_cannot_be_pickled(self, plane: Plane) -> None:
        import threading

        lock = threading.Lock()
        with pytest.raises(InvalidInput, match="cannot be sent"):
            from_callable(InProcessGateway(StillDeployment(plane)), lambda _: lock, None)


def test_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders a worker has to add, each once, and none of Python's own or that does not exist."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "none"), *sys.path])
    found = this_environment()
    assert (found.python, found.cwd) == (sys.executable, str(tmp_path))
    assert found.path[0] == str(tmp_path)
    assert len(set(found.path)) == len(found.path)
    assert not [entry for entry in found.path if "site-packages" in entry or not Path(entry).is_dir()]
