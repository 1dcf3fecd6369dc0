"""A worker's functions: found by name, and dropped when their source has changed."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import htcgrid_core
from htcgrid_core.agent.workers.native.loading import Sources, load
from htcgrid_core.codecs.signing import Key, seal
from htcgrid_core.domain.errors import CorruptPayload


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what was imported from it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str) -> None:
    """Write a source file, a little later than before: clocks of file systems are coarse."""
    later = path.stat().st_mtime_ns + 10_000_000 if path.exists() else None
    path.write_text(text)
    if later is not None:
        os.utime(path, ns=(later, later))
    importlib.invalidate_caches()


class TestLoad:
    @staticmethod
    def load(name: str) -> Any:
        return load({"name": name, "callable_path": ""})

    def test_by_name(self, folder: Path) -> None:
        (folder / "desk").mkdir()
        write(folder / "desk" / "__init__.py", "")
        write(folder / "desk" / "pricing.py", "def handler(event, context):\n    return event + 1\n")
        assert self.load("desk.pricing.handler")(41, None) == 42
        assert self.load("math.sqrt")(4.0) == 2.0

    @pytest.mark.parametrize(
        ("source", "name", "error"),
        [
            ("x = 3", "m_value.x", TypeError),
            ("", "m_empty.handler", AttributeError),
            ("raise RuntimeError('at import')", "m_raises.handler", RuntimeError),
            ("import sys; sys.exit(3)", "m_exits.handler", SystemExit),
            ("def (", "m_syntax.handler", SyntaxError),
            ("", "m_nobody.sub.handler", ModuleNotFoundError),
        ],
    )
    def test_what_cannot_be_loaded(self, folder: Path, source: str, name: str, error: type[BaseException]) -> None:
        write(folder / f"{name.split('.')[0]}.py", source)
        with pytest.raises(error):
            self.load(name)

    def test_a_callable(self, tmp_path: Path) -> None:
        path = tmp_path / "function"
        sealed = seal(Key(b"key"), "", "function", cloudpickle.dumps(lambda event: event + 1))
        path.write_bytes(sealed)
        spec = {"name": "x:y", "callable_path": str(path), "callable_digest": hashlib.sha256(sealed).hexdigest()}
        assert load(spec)(41) == 42

    def test_a_callable_that_is_not_the_one_that_was_verified(self, tmp_path: Path) -> None:
        """Its file was written to after the agent had looked: it is not loaded, whoever signed it."""
        path, verified = tmp_path / "function", seal(Key(b"key"), "", "function", cloudpickle.dumps(len))
        path.write_bytes(seal(Key(b"key"), "", "function", cloudpickle.dumps(sum)))
        spec = {"name": "x:y", "callable_path": str(path), "callable_digest": hashlib.sha256(verified).hexdigest()}
        with pytest.raises(CorruptPayload, match="does not have the digest"):
            load(spec)


class TestSources:
    @pytest.fixture
    def sources(self, folder: Path) -> Sources:
        """Of a worker that has loaded a handler, which imported a helper."""
        write(folder / "s_helper.py", "def help(): return 1\n")
        write(folder / "s_handler.py", "import s_helper\ndef handler(event): return s_helper.help()\n")
        sources = Sources()
        load({"name": "s_handler.handler", "callable_path": ""})
        sources.note()
        return sources

    def test_unchanged(self, sources: Sources, folder: Path) -> None:
        write(folder / "s_other.py", "not imported")
        assert not sources.changed()

    @pytest.mark.parametrize("name", ["s_handler.py", "s_helper.py"])
    def test_edited(self, sources: Sources, folder: Path, name: str) -> None:
        write(folder / name, (folder / name).read_text() + "# edited\n")
        assert sources.changed()

    def test_touched(self, sources: Sources, folder: Path) -> None:
        write(folder / "s_helper.py", (folder / "s_helper.py").read_text())
        assert sources.changed()

    def test_deleted(self, sources: Sources, folder: Path) -> None:
        (folder / "s_helper.py").unlink()
        assert sources.changed()

    def test_imported_late(self, sources: Sources, folder: Path) -> None:
        """What a handler imports when it is called counts from then on."""
        write(folder / "s_late.py", "x = 1\n")
        importlib.import_module("s_late")
        sources.note()
        assert not sources.changed()
        write(folder / "s_late.py", "x = 2\n")
        assert sources.changed()

    def test_installed_packages_are_not_looked_at(self, sources: Sources) -> None:
        """There are too many, and they do not change under a running worker."""
        assert not [path for path in sources._seen if "site-packages" in path or path == os.__file__]
        assert [Path(path).name for path in sources._seen if Path(path).name.startswith("s_")]


def test_the_files_of_the_package_itself_are_not_watched() -> None:
    """They do not change under a running agent, and looking at each after each task would take time."""
    sources = Sources()
    sources.note()
    own = str(Path(str(htcgrid_core.__file__)).parent) + os.sep
    assert not [path for path in sources._seen if path.startswith(own)]
