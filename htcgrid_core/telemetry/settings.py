"""Whether the environment asks for traces, by OpenTelemetry's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from htcgrid_core.domain.errors import InvalidInput

TASKS_VARIABLE = "HTCGRID_TRACE_TASKS"  # the only one of our own
TASKS_DEFAULT = 100
TASKS_MOST = 100_000
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# As OpenTelemetry's own configuration names them.
_OURS = ("otlp", "otlp_proto_http")
HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """What the environment asks for.

    Attributes:
        is_on: whether spans are exported.
        protocol: that it asks for.
        tasks: of each session, about so many have spans of their own, spread over its vector.
    """

    is_on: bool
    protocol: str = HTTP
    tasks: int = TASKS_DEFAULT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> TraceSettings:
        """Read them.

        Traces are on where ``OTEL_TRACES_EXPORTER`` is ``otlp``, or an endpoint for OTLP is named and that variable is
        not; ``OTEL_SDK_DISABLED=true`` turns them off.

        Raises:
            InvalidInput: the number of tasks is none.
        """
        text = environment.get(TASKS_VARIABLE) or str(TASKS_DEFAULT)
        if not (text.isascii() and text.isdecimal() and int(text) <= TASKS_MOST):
            raise InvalidInput(f"{TASKS_VARIABLE} is a number of tasks from 0 to {TASKS_MOST}, not {text!r}")
        exporters = [name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
        named = any(environment.get(name) for name in ENDPOINTS)
        is_wanted = any(name in _OURS for name in exporters) if exporters else named
        is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), HTTP)
        return cls(is_wanted and not is_off, protocol.strip(), int(text))
