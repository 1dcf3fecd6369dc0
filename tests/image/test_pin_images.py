"""Digests of base images, from a registry that this test serves."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import pin_images

DIGEST = "sha256:" + "ab" * 32


class Registry(BaseHTTPRequestHandler):
    """Gives a token to whoever asks, and manifests to whoever has it."""

    def log_message(self, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        if self.headers.get("Authorization") != "Bearer ticket":
            self.send_response(401)
            realm = f"http://{self.headers['Host']}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="registry",scope="pull"')
        elif "image.index" not in self.headers["Accept"] or self.path != "/v2/library/python/manifests/3.12-slim":
            self.send_response(404)
        else:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        self.end_headers()

    def do_GET(self) -> None:
        assert self.path == "/token?service=registry&scope=pull"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "ticket"}).encode())


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "base-images.txt"
    found.write_text("python:3.12-slim\n")
    return found


def test_a_tag_becomes_a_digest(registry: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pin_images.main(["--check"], file, registry) == 1
    assert "has no digest" in capsys.readouterr().err
    assert pin_images.main([], file, registry) == 0
    assert file.read_text() == f"python:3.12-slim@{DIGEST}\n"
    assert pin_images.main(["--check"], file, registry) == 0


def test_a_tag_that_has_moved(registry: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"python:3.12-slim@sha256:{'cd' * 32}\n")
    assert pin_images.main(["--check"], file, registry) == 1
    assert "build anew" in capsys.readouterr().err


def test_who_does_not_answer_changes_nothing(registry: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("python:none\npython:3.12-slim\n")
    assert pin_images.main([], file, registry) == 1
    assert "python:none: its registry did not say" in capsys.readouterr().err
    assert file.read_text() == f"python:none\npython:3.12-slim@{DIGEST}\n"


def test_every_python_of_the_image_is_listed() -> None:
    """With the base that the Dockerfile builds on, by tag or by digest."""
    dockerfile = (pin_images.FILE.parent / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG BASE=python:\$\{PYTHON\}(-[\w-]+)$", dockerfile, re.M)
    lines = pin_images.FILE.read_text().split()
    assert lines
    for line in lines:
        assert re.fullmatch(rf"python:3\.\d+{base}(@sha256:[0-9a-f]{{64}})?", line), line
