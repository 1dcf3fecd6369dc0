"""The triggerer imports triggers in its event loop, which must not stand still for what they need."""

from __future__ import annotations

import asyncio
from importlib import import_module


async def imported(module: str) -> None:
    """Import a module in a thread; an import statement finds it at once then."""
    await asyncio.to_thread(import_module, module)
