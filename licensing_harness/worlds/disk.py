"""A disk with a write-back cache: what was not fsynced survives a crash and not a power loss.

The database is a real SQLite in memory that outlives the processes using it,
so real constraints and real SQL decide. Bugs of SQLite's own recovery are out
of reach here; killing a real process covers the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from licensing_harness.entropy import stream
from licensing_harness.worlds.loop import PowerOff

FSYNC: Final = (0.001, 0.004, 0.020)
"""Seconds an fsync may take; one of them for a whole story, so that leaving out a step changes no other."""

Write = Callable[[sqlite3.Connection, Any], object]
"""The server's own: applies ``rows`` by SQL, inside a transaction that the disk begins and commits."""


@dataclass(slots=True)
class _Batch:
    write: Write
    rows: Any
    error: Exception | None = None


class Hindrance:
    """What is wrong with a disk, while it is. ``met`` counts the accesses that it met.

    ``refuses`` and ``hides`` are errors, as SQLite words them: of every commit,
    and of every access at all. ``delay`` is seconds that a commit takes more.
    """

    def __init__(self, *, refuses: str = "", hides: str = "", delay: float = 0.0) -> None:
        self.met = 0
        self._refuses = refuses or hides
        self._hides = hides
        self._delay = delay

    def read(self) -> None:
        """An access that may only read. Raises sqlite3.OperationalError."""
        if self._hides:
            self.met += 1
            raise sqlite3.OperationalError(self._hides)

    async def commit(self) -> None:
        """A commit is about to begin. Raises sqlite3.OperationalError."""
        self.met += 1
        if self._refuses:
            raise sqlite3.OperationalError(self._refuses)
        await asyncio.sleep(self._delay)


class SimDisk:
    """One node's database. ``image``: bytes of ``serialize`` to begin with.

    ``crash`` starts a new epoch: handles of an older one are fenced.
    """

    def __init__(self, seed: str, image: bytes | None = None) -> None:
        self.epoch = 0
        self._seed = seed
        self._fsync: float = stream(seed, "fsync").choice(FSYNC)
        self._buffer: list[_Batch] = []
        self.hindrances: list[Hindrance] = []
        """What is wrong with it now."""
        self.connection = _opened(image)

    def mount(self) -> Store:
        """The store for a process born now."""
        return Store(self)

    def image(self) -> bytes:
        """The database as bytes."""
        return self.connection.serialize()

    def crash(self, *, power: bool) -> int:
        """Fence every process that lives; returns how many unflushed batches were lost.

        Without ``power`` the cache is the operating system's, and all of it
        reaches the database. With it, only a seeded prefix does.
        """
        self.epoch += 1
        written = len(self._buffer)
        kept = stream(self._seed, "power loss", self.epoch).randrange(written + 1) if power else written
        del self._buffer[kept:]
        if self.connection.in_transaction:
            self.connection.rollback()
        self._flush()
        # A new connection: what the dead process may still hold is closed, and its PRAGMAs are gone.
        image = self.connection.serialize()
        self.connection.close()
        self.connection = _opened(image)
        return written - kept

    def close(self) -> None:
        """Let go of the database."""
        self.connection.close()

    async def commit(self, epoch: int, write: Write, rows: Any) -> None:
        """Buffer, wait for the virtual fsync, write. A crash may land in between: outcome unknown, as in life."""
        self.fence(epoch)
        for hindrance in tuple(self.hindrances):
            await hindrance.commit()
            self.fence(epoch)
        batch = _Batch(write, rows)
        self._buffer.append(batch)
        await asyncio.sleep(self._fsync)
        self.fence(epoch)
        self._flush()
        if batch.error is not None:
            raise batch.error

    def fence(self, epoch: int) -> None:
        """Raise PowerOff in a process that is over."""
        if epoch != self.epoch:
            raise PowerOff

    def _flush(self) -> None:
        buffer, self._buffer = self._buffer, []
        connection = self.connection
        for batch in buffer:
            try:
                connection.execute("BEGIN IMMEDIATE")
                batch.write(connection, batch.rows)
                connection.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - it is the committer's
                batch.error = error
                if connection.in_transaction:
                    connection.rollback()


class Store:
    """What a server is given: the store of one process."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._epoch = disk.epoch

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, in autocommit mode (``isolation_level=None``)."""
        disk = self._disk
        disk.fence(self._epoch)
        if disk.hindrances:
            for hindrance in disk.hindrances:
                hindrance.read()
        return disk.connection

    async def commit(self, write: Write, rows: Any) -> None:
        """Make ``write(connection, rows)`` durable in one transaction.

        Raises what ``write`` raises, after the transaction was rolled back, and
        sqlite3.OperationalError where the disk takes nothing.
        """
        await self._disk.commit(self._epoch, write, rows)


def _opened(image: bytes | None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if image:
        connection.deserialize(image)
    return connection
