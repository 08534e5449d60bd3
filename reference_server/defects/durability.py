"""Bugs of durability: what was acknowledged is not on the disk."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from reference_server.store.adapter import Store, Write
from reference_server.store.rows import Rows

if TYPE_CHECKING:
    from reference_server.composition import Parts


def answer_before_fsync(parts: Parts) -> Parts:
    """A change of a licence is answered when its rows were handed over, not when they are durable."""
    under_way: set[asyncio.Task[None]] = set()

    async def commit(store: Store, write: Write, rows: Rows) -> None:
        if not rows.licences:
            await parts.commit(store, write, rows)
            return
        task = asyncio.get_running_loop().create_task(_committed(store, write, rows))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        # The rows are on their way before anybody is told.
        await asyncio.sleep(0)

    async def _committed(store: Store, write: Write, rows: Rows) -> None:
        await parts.commit(store, write, rows)

    return replace(parts, commit=commit)
