"""How much each section does: in full, or in little for a look whether everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The counts and durations of one run."""

    workers: int = 2
    warm_up_tasks: int = 1_000
    throughput_tasks: int = 10_000
    throughput_rounds: int = 3
    settle_s: float = 0.5
    round_trips: int = 300
    round_trip_pause_s: float = 0.02
    idle_s: float = 20.0
    million: int = 1_000_000
    small_session: int = 1_000
    polls: int = 200
    wakes: int = 20
    wake_tasks: int = 200
    cancel_sleep_s: float = 60.0
    granularity: tuple[tuple[int, float], ...] = ((4_000, 0.001), (1_000, 0.01), (200, 0.1))
    sustained_s: float = 60.0
    sustained_session_tasks: int = 1_000
    sustained_slots: int = 13_000
    efficiency_rounds: int = 60
    products: int = 24
    shared_calls: int = 40
    shared_array_mib: int = 16
    payload_bytes: tuple[tuple[str, int, int], ...] = (
        ("8mb", 60, 8_000_000),
        ("64mb", 8, 64_000_000),
        ("256kb", 400, 256_000),
    )
    payload_rounds: int = 4
    shared_input_bytes: int = 200_000_000
    shared_reads: int = 200


FULL = Sizes()
QUICK = Sizes(
    warm_up_tasks=200,
    throughput_tasks=1_000,
    throughput_rounds=2,
    round_trips=30,
    idle_s=3.0,
    million=20_000,
    polls=40,
    wakes=5,
    granularity=((400, 0.001), (100, 0.01), (20, 0.1)),
    sustained_s=5.0,
    sustained_session_tasks=100,
    sustained_slots=1_300,
    efficiency_rounds=4,
    products=6,
    shared_calls=8,
    shared_array_mib=4,
    payload_bytes=(("8mb", 6, 8_000_000), ("64mb", 2, 64_000_000), ("256kb", 20, 256_000)),
    payload_rounds=1,
    shared_input_bytes=20_000_000,
    shared_reads=20,
)
