"""A server that answers as Kubernetes' API does, as far as a fleet asks: written for tests, over HTTP or HTTPS.

It knows selectors of labels and fields, versions, pages, watches that end or have forgotten, merge patches with their
conflicts, logs, what an account may not do, and asks for patience.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
KINDS = ("pods", "deployments", "horizontalpodautoscalers", "scaledobjects", "events")
_PATH = re.compile(
    r"/apis?/(?:[\w.]+/)?v\w+/namespaces/(?P<namespace>[\w-]+)/(?P<kind>\w+)(?:/(?P<name>[\w.-]+))?(?P<log>/log)?"
)


@dataclass
class Call:
    """One request."""

    method: str
    kind: str
    query: dict[str, str]
    at: float


@dataclass
class Refusal:
    """What some of the next requests get instead of an answer."""

    status: int
    count: int
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    only: str = ""  # a kind; all of them if empty


@dataclass
class Cluster:
    """What is there.

    Attributes:
        forgotten: versions before this one are too old for watches, and for pages that are to go on.
        watch_seconds: after which the server ends a watch, whatever was asked for.
        cut: watches whose connection is lost.
        logs: of containers that have begun; pods without are waiting to.
        previous: logs of the containers before.
        forbidden: kinds, or ``patch pods``, that nobody may.
        absent: kinds that this cluster does not know.
        calls: all requests.
    """

    namespace: str = "htcgrid"
    version: int = 1000
    forgotten: int = 0
    watch_seconds: float = 5.0
    cut: int = 0
    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    history: list[tuple[int, str, str, Object]] = field(default_factory=list)  # version, kind, change, object
    logs: dict[str, list[str]] = field(default_factory=dict)
    previous: dict[str, list[str]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    between_pages: Callable[[], None] = lambda: None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, kind: str, found: Object) -> None:
        """Add an object, or replace it."""
        with self.changed:
            self.version += 1
            name = found["metadata"]["name"]
            found["metadata"]["resourceVersion"] = str(self.version)
            change = "MODIFIED" if name in self.objects[kind] else "ADDED"
            self.objects[kind][name] = found
            self.history.append((self.version, kind, change, json.loads(json.dumps(found))))
            self.changed.notify_all()

    def remove(self, kind: str, name: str) -> None:
        """Take one away."""
        with self.changed:
            self.version += 1
            gone = self.objects[kind].pop(name)
            self.history.append((self.version, kind, "DELETED", gone))
            self.changed.notify_all()

    def say(self, pod: str, *lines: str) -> None:
        """Lines of a pod's log."""
        with self.changed:
            self.logs.setdefault(pod, []).extend(lines)
            self.changed.notify_all()

    def forget(self) -> None:
        """All versions until now."""
        self.forgotten = self.version + 1

    def made(self, method: str, kind: str) -> list[Call]:
        """Requests of one sort."""
        return [call for call in self.calls if (call.method, call.kind) == (method, kind)]


class Server:
    """Serves a cluster.

    Args:
        certificate: PEM file with certificate and key, for HTTPS.
    """

    def __init__(self, cluster: Cluster, certificate: Path | None = None) -> None:
        handler = type("Handler", (_Handler,), {"cluster": cluster})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def matches(labels: dict[str, str], selector: str) -> bool:
    """Whether labels are those of a selector by equality: =, ==, !=, and a label that is there."""
    for term in filter(None, selector.split(",")):
        key, sign, value = re.split(r"(==|!=|=|$)", term, maxsplit=1)
        if (labels.get(key) == value if sign else key in labels) == (sign == "!="):
            return False
    return True


def has_fields(found: Object, selector: str) -> bool:
    """Whether fields such as ``involvedObject.kind`` are as a selector says."""
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        place: Any = found
        for key in path.split("."):
            place = place.get(key) if isinstance(place, dict) else None
        if place != value:
            return False
    return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""

    def do_GET(self) -> None:
        """Lists, watches and logs."""
        found = self._begin()
        if found is None:
            return
        kind, name, is_log, query = found
        if is_log:
            self._send_log(str(name), query)
        elif query.get("watch") in ("true", "True"):
            self._watch(kind, query)
        elif name is None:
            self._list(kind, query)
        elif name in self.cluster.objects[kind]:
            self._answer(200, self.cluster.objects[kind][name])
        else:
            self._fail(404, "NotFound", f"{kind} {name!r} not found")

    def do_PATCH(self) -> None:
        """Merge patches of what is there."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self._begin()
        if found is None:
            return
        kind, name, _, _ = found
        if name not in self.cluster.objects[kind]:
            self._fail(404, "NotFound", f"{kind} {name!r} not found")
            return
        if self.headers["Content-Type"] not in (
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ):
            self._fail(415, "UnsupportedMediaType", self.headers["Content-Type"])
            return
        now = json.loads(json.dumps(self.cluster.objects[kind][name]))
        asked = body.get("metadata", {}).get("resourceVersion")
        if asked not in (None, now["metadata"]["resourceVersion"]):
            self._fail(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
            return
        _merge(now, body)
        self.cluster.put(kind, now)
        self._answer(200, now)

    def _begin(self) -> tuple[str, str | None, bool, dict[str, str]] | None:
        parts = urlsplit(self.path)
        path = _PATH.fullmatch(parts.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if path is None or path["kind"] not in KINDS or path["kind"] in self.cluster.absent:
            self._fail(404, "NotFound", "the server could not find the requested resource")
            return None
        kind = path["kind"] + (path["log"] or "")
        self.cluster.calls.append(Call(self.command, kind, query, time.monotonic()))
        for refusal in self.cluster.refusals:
            if refusal.count > 0 and refusal.only in ("", kind):
                refusal.count -= 1
                self._fail(refusal.status, "Refused", refusal.message, refusal.headers)
                return None
        verb = "patch " if self.command == "PATCH" else ""
        if {kind, verb + kind} & self.cluster.forbidden:
            text = f'{kind} is forbidden: User "desk" cannot {verb or "list "}resource "{kind}" in the namespace'
            self._fail(403, "Forbidden", text)
            return None
        if path["namespace"] != self.cluster.namespace:
            self._answer(200, _list_of([], self.cluster.version))
            return None
        return kind, path["name"], bool(path["log"]), query

    def _chosen(self, kind: str, query: dict[str, str]) -> list[Object]:
        return [
            found
            for _, found in sorted(self.cluster.objects[kind].items())
            if matches(found["metadata"].get("labels", {}), query.get("labelSelector", ""))
            and has_fields(found, query.get("fieldSelector", ""))
        ]

    def _list(self, kind: str, query: dict[str, str]) -> None:
        begin, version = 0, self.cluster.version
        if "continue" in query:
            version, begin = map(int, query["continue"].split("-"))
            if version < self.cluster.forgotten:
                self._fail(410, "Expired", "the provided continue parameter is too old")
                return
        found, limit = self._chosen(kind, query), int(query.get("limit", "0")) or 10**9
        more = begin + limit < len(found)
        page = _list_of(found[begin : begin + limit], version)
        if more:
            page["metadata"]["continue"] = f"{version}-{begin + limit}"
        self._answer(200, page)
        if more:
            self.cluster.between_pages()

    def _watch(self, kind: str, query: dict[str, str]) -> None:
        since, cluster = int(query["resourceVersion"]), self.cluster
        self._begin_stream("application/json")
        if cluster.cut > 0:
            cluster.cut -= 1
            self._raw(b'{"type": "ADD')
            self.close_connection = True
            return
        if since < cluster.forgotten:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old resource version: {since}"}
            self._piece({"type": "ERROR", "object": gone})
            self._end_stream()
            return
        end = time.monotonic() + min(cluster.watch_seconds, float(query.get("timeoutSeconds", "60")))
        while (left := end - time.monotonic()) > 0:
            with cluster.changed:
                news = [each for each in cluster.history if each[0] > since and each[1] == kind]
                if not news:
                    cluster.changed.wait(left)
                    continue
            for version, _, change, found in news:
                since = version
                if matches(found["metadata"].get("labels", {}), query.get("labelSelector", "")):
                    self._piece({"type": change, "object": found})
        if query.get("allowWatchBookmarks"):
            metadata = {"resourceVersion": str(cluster.version)}
            self._piece({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": metadata}})
        self._end_stream()

    def _send_log(self, pod: str, query: dict[str, str]) -> None:
        if pod not in self.cluster.objects["pods"]:
            self._fail(404, "NotFound", f"pods {pod!r} not found")
            return
        logs = self.cluster.previous if query.get("previous") in ("true", "True") else self.cluster.logs
        if pod not in logs:
            self._fail(400, "BadRequest", f'container "agent" in pod "{pod}" is waiting to start, or never ended')
            return
        if logs is self.cluster.previous:
            self._begin_stream("text/plain")
            self._raw("".join(f"{line}\n" for line in logs[pod]).encode())
            self._end_stream()
            return
        self._begin_stream("text/plain")
        for line in self._log_lines(pod, query):
            self._raw(f"{line}\n".encode())
        self._end_stream()

    def _log_lines(self, pod: str, query: dict[str, str]) -> Iterator[str]:
        cluster = self.cluster
        stamped = [f"2026-11-29T12:00:00.{number:09d}Z {line}" for number, line in enumerate(cluster.logs[pod])]
        lines = stamped if query.get("timestamps") else cluster.logs[pod]
        sent = max(0, len(lines) - int(query.get("tailLines", len(lines))))
        yield from lines[sent:]
        sent, end = len(lines), time.monotonic() + cluster.watch_seconds
        while query.get("follow") and (left := end - time.monotonic()) > 0:
            with cluster.changed:
                if pod not in cluster.objects["pods"]:
                    return
                if len(cluster.logs[pod]) == sent:
                    cluster.changed.wait(left)
                news, first, sent = cluster.logs[pod][sent:], sent, len(cluster.logs[pod])
            for number, line in enumerate(news, first):
                yield f"2026-11-29T12:00:00.{number:09d}Z {line}" if query.get("timestamps") else line

    def _begin_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, found: Object) -> None:
        self._raw(json.dumps(found).encode() + b"\n")

    def _raw(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _fail(self, status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        found = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
        self._answer(status, found, headers)

    def _answer(self, status: int, found: Object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _list_of(items: list[Object], version: int) -> Object:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value
