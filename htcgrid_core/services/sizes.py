"""Sizes: whether a session's tasks fit into the slots of its pools."""

from __future__ import annotations

from collections.abc import Iterable

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionSpec


def asks_for_size(spec: SessionSpec) -> bool:
    """Whether the sizes of pools matter to a session."""
    return not (spec.memory_mb is None and spec.cpus is None and spec.retry.on_out_of_memory is None)


def check_sizes(spec: SessionSpec, sizes: Iterable[PoolSize]) -> None:
    """Whether a session's tasks fit into the slots of its pools, as far as these are known.

    Raises:
        InvalidInput: they do not, or what is to be the larger pool is none.
    """
    known = {size.pool: size for size in sizes}
    own = known.get(spec.pool, PoolSize(spec.pool))
    if spec.memory_mb and own.memory_mb and spec.memory_mb > own.memory_mb:
        raise InvalidInput(
            f"a slot of pool {own.pool!r} has {own.memory_mb:,} MiB, and each task asks for {spec.memory_mb:,}: "
            + _other(known, spec.memory_mb, "MiB")
        )
    if spec.cpus and own.cpus and spec.cpus > own.cpus:
        raise InvalidInput(
            f"a slot of pool {own.pool!r} has {own.cpus:g} cores, and each task asks for {spec.cpus:g}: "
            + _other(known, spec.cpus, "cores")
        )
    if (name := spec.retry.on_out_of_memory) is None:
        return
    larger, before = known.get(name, PoolSize(name)), spec.memory_mb or own.memory_mb
    if before and larger.memory_mb and larger.memory_mb <= before:
        raise InvalidInput(
            f"on_out_of_memory names pool {name!r}, whose slots have {larger.memory_mb:,} MiB, and tasks have "
            f"{before:,} before they move: " + _other(known, before + 1, "MiB")
        )
    if spec.cpus and larger.cpus and spec.cpus > larger.cpus:
        raise InvalidInput(
            f"a slot of pool {name!r}, to which tasks may move, has {larger.cpus:g} cores, and each asks for "
            f"{spec.cpus:g}: " + _other(known, spec.cpus, "cores")
        )


def _other(known: dict[str, PoolSize], wanted: float, unit: str) -> str:
    """Which pools would do."""
    told = {size.pool: size.memory_mb if unit == "MiB" else size.cpus for size in known.values()}
    found = [f"{pool} ({has:,g})" for pool, has in sorted(told.items()) if has is not None and has >= wanted]
    return (
        f"these pools have as many {unit}: {', '.join(found)}" if found else f"no pool is known to have as many {unit}"
    )
