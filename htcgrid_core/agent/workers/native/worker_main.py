"""The native Python worker: a child process of the agent that runs one task at a time.

It imports as little as it can, so that it starts in tens of milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import json
import os
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htcgrid_core.agent.workers import captured_output, verified_files
from htcgrid_core.agent.workers.context import Context
from htcgrid_core.agent.workers.limits import confine
from htcgrid_core.agent.workers.native import as_lambda, kept, meter, sealed_memory, wire
from htcgrid_core.agent.workers.native.encoding import Encoder, encoder_of
from htcgrid_core.agent.workers.native.hints import with_hint
from htcgrid_core.agent.workers.native.invocation import RUNNING
from htcgrid_core.agent.workers.native.loading import Sources, load
from htcgrid_core.agent.workers.native.waiting import Waiting
from htcgrid_core.agent.workers.native.wire import Gauge, Kind
from htcgrid_core.codecs import folders, mapped
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.buffers import Buffer, Data, joined, parts_of, size_of
from htcgrid_core.codecs.exceptions import encode_exception
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.codecs.schemas import Schema, compiled, misfit
from htcgrid_core.codecs.shared import FILE, FOLDER, NOT_SUBMITTED, SharedInput, resolve_with, resolved
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.codecs.values import DECODERS, encode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.task_error import OUT_OF_MEMORY
from htcgrid_core.domain.this_worker import become
from htcgrid_core.telemetry.running import TASK

FLUSH_SECONDS = 0.002  # after which an outcome is sent although more tasks wait
TRACEBACK_CHARACTERS = 16_000
EXCEPTION_BYTES = 1 << 20
READ_BYTES = 1 << 16
MAPPED_BYTES = 1 << 17  # of a shared input, from which on its arrays are views of its file; smaller ones are copied


class Worker:
    """One worker's connection, function and unsent outcomes.

    Args:
        memory_mb: that it may use; 0 for no limit.
    """

    def __init__(self, connection: socket.socket, gauge: Gauge, memory_mb: int = 0) -> None:
        self._connection = connection
        self._inbox = connection.makefile("rb", READ_BYTES)
        self._arrived = select.poll()
        self._arrived.register(connection, select.POLLIN)
        self._gauge = gauge
        self._sources = Sources()
        self._memory_mb = memory_mb
        self._functions: kept.Kept[Any] = kept.functions(memory_mb)
        self._shared: kept.Kept[Any] = kept.shared_inputs(memory_mb)
        self._is_new = True  # it has loaded no function yet
        self._shared_paths: dict[str, str] = {}
        self._session_id = ""
        self._asked: dict[str, Any] = {}  # the function that the agent named last
        self._spec = self._asked  # the one that is loaded
        self._function: Callable[..., Any] | None = None
        self._encode: Encoder = encode_json
        self._results: Schema | None = None  # what they must fit
        self._lock = threading.Lock()  # the buffer and the sending end of the connection
        self._buffer = Outcomes()  # of the chunk that is run
        self._unsent = b""  # messages
        self._serial, self._position = 0, 0  # of the task that runs, or ran last
        self._waiting = threading.Event()
        self._stdout, self._stderr = captured_output.Stream("stdout", 1), captured_output.Stream("stderr", 2)
        self._own = _identity(connection)
        self._pid, self._folder = os.getpid(), os.getcwd()
        self._this = Waiting(self._tell_waits, self._is_refused)

    def serve(self) -> None:
        """Obey the agent until it hangs up."""
        resolve_with(self._resolve)
        become(self._this)
        threading.Thread(target=self._flush_late, daemon=True).start()
        self._send(wire.message(Kind.HELLO, bytes((Kind.STORED_CHUNK,))))
        while True:
            head = self._inbox.read(wire.HEAD.size)
            if len(head) < wire.HEAD.size:
                return
            length, kind = wire.HEAD.unpack(head)
            body = self._inbox.read(length)
            if len(body) < length:
                return
            if kind == Kind.FUNCTION:
                self._asked = _function_in(body)
            elif not self._run(wire.unpack_chunk(body, kind)):
                return

    # Functions

    def _turn_to(self, session_id: str) -> bool:
        """Make ready for the tasks of another session, or function; False if this worker has to end."""
        self._rest()  # or what has ended would run again if this worker has to end
        if self._sources.changed():
            self._send(wire.message(Kind.STALE))
            return False
        with contextlib.suppress(OSError):  # the last session's handler may have left it, or deleted it
            os.chdir(self._folder)
        if self._asked is not self._spec and not self._load(self._asked):
            return False
        self._session_id = session_id
        return True

    def _load(self, spec: dict[str, Any]) -> bool:
        function = self._functions.get(spec["key"])
        if function is None:
            self._this.is_loading = True
            try:
                size = os.path.getsize(spec["callable_path"]) if spec["callable_path"] else 0
                self._make_room(size)
                if spec["arn"]:
                    as_lambda.prepare()
                function = load(spec)
                if spec["encoding"] == "lambda":  # what was deployed before ran, and goes on
                    as_lambda.check()
                _schema_of(spec)
            except BaseException as error:  # noqa: BLE001 - a module may even call sys.exit when imported
                if isinstance(error, MemoryError) and not self._is_new:
                    self._send(wire.message(Kind.STALE))  # of all that this process has run before: a new one has not
                    return False
                text = f"{spec['name']} could not be loaded: {self._cause(error)}"
                kind = OUT_OF_MEMORY if isinstance(error, MemoryError) else "InitError"
                described = json.loads(codec.encode_error(TaskError(kind, text, _trace(error))))
                printed = {"stdout": self._stdout.take(), "stderr": self._stderr.take()}
                self._send(wire.json_message(Kind.LOAD_FAILED, {**described, **printed}))
                return False
            finally:
                self._this.is_loading = False
            self._functions.put(spec["key"], function, size)
            self._is_new = False
            self._stdout.take()
            self._stderr.take()
        if spec["confirm"]:
            self._send(wire.message(Kind.LOADED))
        self._sources.note()
        self._spec, self._function, self._encode = spec, function, encoder_of(spec)
        self._results = _schema_of(spec)
        self._this.grid = spec.get("grid", "")  # an agent of the release before says none, and is told of no waits
        return True

    def _resolve(self, reference: SharedInput) -> Any:
        """A shared input, read once; the agent has verified those that this chunk's events were submitted with."""
        path = wire.shared_path(self._shared_paths, reference)
        if path is None:  # as another codec, perhaps, for which no signature was asked
            raise CorruptPayload(NOT_SUBMITTED.format(name=reference.name))
        value = self._shared.get(reference.name)
        if value is None:
            size = os.path.getsize(path)
            value = self._loaded_shared(reference, path, size)
            self._shared.put(reference.name, value, size)
        return value

    def _loaded_shared(self, reference: SharedInput, path: str, size: int) -> Any:
        if reference.codec == FILE:
            verified_files.mapped(path, reference.digest, "shared file")
            return Path(path)
        if reference.codec == FOLDER:
            folders.check(Path(path), reference.digest)
            return Path(path)
        if reference.codec == "pickle" and size > MAPPED_BYTES:
            return mapped.load(verified_files.mapped(path, reference.digest, "shared input")[SIGNATURE_BYTES:])
        self._make_room(size)
        data = verified_files.read(path, reference.digest, "shared input")
        if reference.codec == "pickle":
            data = data[SIGNATURE_BYTES:]
        return data if reference.codec == "bytes" else DECODERS[reference.codec](data)

    def _make_room(self, stored_bytes: int) -> None:
        """Let go of what is kept of earlier sessions if it may be in the way of what is loaded now."""
        if not kept.has_room_for(stored_bytes):
            self._let_go()

    def _let_go(self) -> None:
        self._functions.clear()
        self._shared.clear()
        gc.collect()  # functions are often in cycles

    def _cause(self, error: BaseException) -> str:
        """What went wrong, which the text of many an error does not say."""
        if isinstance(error, MemoryError) and self._memory_mb:
            return with_hint("MemoryError", error, self._memory_mb)
        return _message(error, 0) or type(error).__name__

    # Tasks

    def _run(self, chunk: wire.ChunkBody) -> bool:
        """Run the tasks of a chunk; False if this worker has to end instead."""
        is_other = chunk.session_id != self._session_id or self._asked is not self._spec
        if is_other and not self._turn_to(chunk.session_id):
            return False
        self._serial = chunk.serial
        self._shared_paths = chunk.shared
        at, last, has_shared, is_measured = 0, len(chunk.indexes) - 1, bool(chunk.shared), bool(self._spec.get("usage"))
        if is_measured:
            meter.forget_peak()
            began, cpu_before = time.monotonic(), meter.cpu_seconds()
        tasks = zip(chunk.indexes, chunk.attempts, chunk.lengths, strict=True)
        for position, (index, attempt, length) in enumerate(tasks):
            if self._gauge.is_revoked(chunk.serial, position):
                break
            started, self._position = time.monotonic(), position
            self._gauge.begin(chunk.serial, position, started)
            failed, result = self._call(chunk.data[at : at + length], index, attempt, started, has_shared)
            if _identity(self._connection) != self._own:  # whoever did that is charged with it, not who runs next
                raise OSError("a task has put something else in the place of its worker's connection")
            self._this.task_ended()
            at += length
            seconds = time.monotonic() - started
            stdout, stderr = self._stdout.take(), self._stderr.take()
            if is_measured and position == last:  # before its outcome, with which the chunk is over
                cpu, took = meter.cpu_seconds() - cpu_before, time.monotonic() - began
                told = wire.used_message(chunk.serial, position + 1, meter.peak_mb(), max(0.0, cpu), took)
                with self._lock:
                    self._pack_locked()
                    self._unsent += told
            if type(result) is not bytes or len(result) >= sealed_memory.LARGE_BYTES:  # most are neither
                row = index, failed, attempt, time.time() - seconds, seconds
                if self._tell_large(row, result, stdout, stderr):
                    continue
                result = joined(result)
            with self._lock:
                is_first = not self._buffer
                self._buffer.add(index, failed, attempt, time.time() - seconds, seconds, result, stdout, stderr)
            if is_first and position != last:
                self._waiting.set()
        if self._arrived.poll(0):
            # With the next chunk there, these outcomes are sent beside its first task: whoever sends them wakes the
            # agent, often on the very core that the task should begin on.
            with self._lock:
                self._pack_locked()
            self._waiting.set()
        else:
            self._rest()
        self._sources.note()  # what handlers import late
        return True

    def _call(
        self, payload: Buffer | StoredPart, index: int, attempt: int, started: float, shared: bool
    ) -> tuple[bool, Data]:
        """(failed, encoded result or error) of one task."""
        spec, function = self._spec, self._function
        assert function is not None, "a chunk never comes before its function"
        try:
            if isinstance(payload, StoredPart):
                is_pickle = spec["codec"] == "pickle"
                event = payload.unpickled() if is_pickle else DECODERS[spec["codec"]](bytes(payload))
            else:
                event = DECODERS[spec["codec"]](payload)
            if shared and spec["codec"] == "json":
                event = resolved(event)
            if spec["call"] == "handler":
                timeout = spec["task_timeout_seconds"]
                deadline = None if timeout is None else started + timeout
                RUNNING.context = context = Context(
                    self._session_id, index, attempt, spec["function"], spec["memory_limit"], deadline, spec["version"],
                    (spec["traceparent"], spec["tracestate"]), spec["arn"], spec["labels"], spec["tenant"],
                    spec.get("traced_every"),
                )  # fmt: skip
                result = function(event, context)
                if spec["encoding"] == "lambda":
                    as_lambda.check()
            else:
                submitted = spec["traceparent"], spec["tracestate"]
                TASK.place = (self._session_id, *submitted, index, attempt, spec.get("traced_every"))
                result = function(event) if spec["call"] == "event" else function(*event[0], **event[1])
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the task's failure too
            self._end_if_child(error)
            if isinstance(error, MemoryError):
                self._let_go()  # its next attempt has what there is
            return True, self._encode_error(error)
        self._end_if_child(None)
        try:
            encoded = self._encode(result)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            text = f"the handler returned a {type(result).__name__} that cannot be encoded: {self._cause(error)}"
            kind = OUT_OF_MEMORY if isinstance(error, MemoryError) else "InvalidResult"
            return True, codec.encode_error(TaskError(kind, text))
        size = len(encoded) if type(encoded) is bytes else size_of(encoded)
        if size > limits.MAX_RESULT_BYTES:
            text = f"the result has {size:,} bytes, over {limits.MAX_RESULT_BYTES:,}: store it, return its place"
            return True, codec.encode_error(TaskError("InvalidResult", text))
        if self._results is not None and (found := self._results.problems_in(joined(encoded))):
            return True, codec.encode_error(misfit(found))
        return False, encoded

    def _encode_error(self, error: BaseException) -> bytes:
        described = TaskError(type(error).__name__, _message(error, self._memory_mb), _trace(error))
        pickled = encode_exception(error) if self._spec["codec"] == "pickle" else b""
        return codec.encode_error(described, pickled if len(pickled) <= EXCEPTION_BYTES else b"")

    def _tell_waits(self, session_ids: list[str]) -> None:
        if self._this.grid:
            waits = {"serial": self._serial, "position": self._position, "sessions": session_ids}
            self._send(wire.json_message(Kind.WAITS, waits))

    def _is_refused(self) -> bool:
        return self._gauge.take_refusal(self._serial, self._position)

    def _end_if_child(self, error: BaseException | None) -> None:
        """A handler that forks comes back twice: the child is no worker, and ends as a script would."""
        if os.getpid() == self._pid:
            return
        code = error.code if isinstance(error, SystemExit) else error
        os._exit(code if isinstance(code, int) else int(code is not None))

    # Outcomes

    def _flush(self) -> None:
        with self._lock:
            self._flush_locked()

    def _flush_locked(self) -> None:
        self._pack_locked()
        if self._unsent:
            self._connection.sendall(self._unsent)
            self._unsent = b""

    def _tell_large(self, row: tuple[int, bool, int, float, float], result: Data, stdout: str, stderr: str) -> bool:
        """Send a large result in sealed memory; False if that cannot be done."""
        if row[1] or not self._spec.get("memory"):  # an agent of the release before takes none
            return False
        try:
            fd = sealed_memory.write(parts_of(result))
        except OSError:
            return False
        alone = Outcomes()
        alone.add(*row, b"", stdout, stderr)
        told = wire.pack_outcomes(self._serial, codec.pack(alone), Kind.RESULT)
        try:
            with self._lock:
                self._flush_locked()  # what ended before it
                sent = socket.send_fds(self._connection, [told], [fd])
                self._connection.sendall(told[sent:])
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # descriptors under way of all this user's workers; nothing was sent
                raise
            return False
        finally:
            os.close(fd)
        return True

    def _rest(self) -> None:
        """Tell what has ended, and only then that no task runs, or nobody would be charged with a broken connection."""
        self._flush()
        self._gauge.rest()

    def _pack_locked(self) -> None:
        if self._buffer:
            self._unsent += wire.pack_outcomes(self._serial, codec.pack(self._buffer))
            self._buffer = Outcomes()

    def _flush_late(self) -> None:
        """Send what waits behind the next task."""
        while True:
            self._waiting.wait()
            self._waiting.clear()
            time.sleep(FLUSH_SECONDS)
            self._flush()

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)


def _schema_of(spec: dict[str, Any]) -> Schema | None:
    """What the results of the function that a FUNCTION message names must fit."""
    text = spec.get("results_schema")  # that of an agent of the release before has none
    return compiled(text) if text else None


def _function_in(body: bytes) -> dict[str, Any]:
    """What a FUNCTION message says; an agent of the release before does not say all that is of deployed functions."""
    spec: dict[str, Any] = json.loads(body)
    return {"arn": "", "encoding": "grid", "memory_limit": spec["memory_mb"], **spec}


def _identity(connection: socket.socket) -> tuple[int, int]:
    """Of what its descriptor stands for.

    Raises:
        OSError: it was closed.
    """
    found = os.fstat(connection.fileno())
    return found.st_dev, found.st_ino


def _message(error: BaseException, memory_mb: int) -> str:
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - a __str__ that raises must not cost the worker
        text = f"(its text raises {type(broken).__name__})"
    if isinstance(error, SystemExit):
        return f"the handler called sys.exit({text})"
    return with_hint(text[:TRACEBACK_CHARACTERS], error, memory_mb)


def _trace(error: BaseException) -> str:
    """The traceback from the handler's first frame on."""
    trace = error.__traceback__
    here = __file__, load.__code__.co_filename
    while trace is not None and trace.tb_frame.f_code.co_filename in here:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as broken:  # noqa: BLE001 - whatever the user's code raises
        text = f"(its traceback raises {type(broken).__name__})"
    if len(text) > TRACEBACK_CHARACTERS:
        half = TRACEBACK_CHARACTERS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
    return text


def main() -> None:
    """``htcgrid_core.agent.worker_main SOCKET_FD GAUGE_FD AGENT_PID MEMORY_MB PATH...``."""
    socket_fd, gauge_fd, agent_pid, memory_mb = map(int, sys.argv[1:5])
    path = sys.argv[5:]
    confine(memory_mb)
    if os.getppid() != agent_pid:
        return  # the agent died before PDEATHSIG was set
    sys.argv = [sys.argv[0]]
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    faulthandler.enable()  # a segfault leaves its traceback on stderr, which the agent reads
    connection = socket.socket(fileno=socket_fd)
    gauge = Gauge(gauge_fd)
    os.close(gauge_fd)
    try:
        Worker(connection, gauge, memory_mb).serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the agent hung up: nobody is left to tell
    except OSError:
        traceback.print_exc()
        os._exit(1)  # a task has closed our descriptors; threads that it left behind must not keep us


if __name__ == "__main__":
    main()
