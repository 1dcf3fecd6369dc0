"""What a client of the Runtime API sends is hostile input: whatever it is, the pool goes on and serves the next client.

HYPOTHESIS_PROFILE=search looks further.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.ports.worker import Flushed, LoadFailed, WorkerLost
from tests.runtimes.clients import VERSION
from tests.runtimes.test_sidecars import OVER, Beside, Client, hosted

methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "P O"])
paths = st.sampled_from(
    [
        f"{VERSION}/invocation/next",
        f"{VERSION}/init/error",
        f"{VERSION}/invocation/s-tests/0/1/response",
        f"{VERSION}/invocation/s-tests%2F0%2F1/error",
        f"{VERSION}/invocation/s-tests/7/1/response",
        f"{VERSION}/invocation/%FF%00/error",
        "*",
        "http://elsewhere/",
    ]
)
headers = st.lists(
    st.sampled_from(
        [
            "Expect: 100-continue", "Transfer-Encoding: chunked", "Connection: close", "Upgrade: websocket",
            "Connection: upgrade", "Content-Length: 3", "Content-Length: -1", "Content-Length: 99999999999999999999",
            "Lambda-Runtime-Function-Error-Type: \xff", "Host: elsewhere", "X:",
        ]
    ),
    max_size=3,
)  # fmt: skip
bodies = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"3\r\nabc\r\n0\r\n\r\n", b"\xff\xfe", b"NaN"]),
    st.dictionaries(
        st.sampled_from(["errorType", "errorMessage", "stackTrace", "trace"]),
        st.recursive(st.none() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)),
    ).map(lambda value: json.dumps(value).encode()),
)
Sent = tuple[str, str, list[str], bytes] | bytes
requests = st.one_of(st.tuples(methods, paths, headers, bodies), st.binary(max_size=60))


def written(sent: Sent, address: str) -> bytes:
    """A request as bytes."""
    if isinstance(sent, bytes):
        return sent
    method, path, more, body = sent
    length = (
        [] if any(line.startswith(("Content-L", "Transfer")) for line in more) else [f"Content-Length: {len(body)}"]
    )
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address}", *more, *length, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.fixture(scope="module")
def host() -> Iterator[Beside]:
    """One port, which all examples share: it has to stand them one after another."""
    with TemporaryDirectory() as folder:
        yield from hosted([SidecarPort(function="app", port=0)], Path(folder))


@example(sent=[("HEAD", f"{VERSION}/invocation/next", [], b"")])
@example(sent=[("GET", f"{VERSION}/invocation/next", [], b""), ("POST", f"{VERSION}/init/error", [], b"[" * 100_000)])
@example(sent=[("POST", f"{VERSION}/init/error", [], b'{"errorType":' + b"[" * 100_000)])
@given(sent=st.lists(requests, min_size=1, max_size=4))
def test_no_input_ends_the_pool(host: Beside, sent: list[Sent]) -> None:
    host.events.clear()
    chunk = host.run([7])
    name, _, port = host.ports()[0].partition(":")
    with socket.create_connection((name, int(port)), timeout=60) as raw:
        raw.setblocking(False)
        for each in sent:
            data = written(each, host.ports()[0])
            for _ in range(20):
                with suppress(OSError):  # it was hung up on
                    data = data[raw.send(data) :]
                host.events += host.pool.wait(0)
                with suppress(OSError):
                    raw.recv(1 << 16)
                if not data:
                    break
    host.until(lambda: not host.pool._sidecars[0].connections, "its end is seen")
    if not any(isinstance(event, WorkerLost | LoadFailed | Flushed) for event in host.events):
        host.pool.kill(0, OVER)
        host.until(lambda: host.pool.running(0) is None, "it is given up")
    host.pool.discard(0)
    host.events.clear()
    host.run([8])
    client = Client(host)
    told = client.next()
    assert told.body == b"8"
    assert client.respond(told.request_id, "done").status == 202
    (flushed,) = [event for event in [*host.events, *host.pool.wait(0)] if isinstance(event, Flushed)]
    assert flushed.serial == chunk.serial + 1
    assert [outcome.payload for outcome in flushed.outcomes] == [b'"done"']
    client.die()
