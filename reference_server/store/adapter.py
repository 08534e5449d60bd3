"""What the server needs of a store, and the store that is given by a simulation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from reference_server.errors import StoreError
from reference_server.store import schema
from reference_server.store.rows import Rows
from reference_server.store.statements import Statements, for_sqlite

T = TypeVar("T")
Write = Callable[[Any, Rows], None]
"""``write(DBAPI connection, rows)`` runs statements; it neither opens nor ends a transaction."""


class Store(Protocol):
    """A database behind two threads of its own, or a simulated disk."""

    statements: Statements

    async def open(self) -> None:
        """Connect, lock and migrate. Raises StartError."""
        ...

    async def commit(self, write: Write, rows: Rows) -> None:
        """Write the rows in one durable transaction. Raises StoreError; then their fate is unknown."""
        ...

    async def read(self, query: Callable[[Any], T]) -> T:
        """``query(connection)`` over committed state. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


class GivenDisk(Protocol):
    """What a simulation gives: it owns the connection, the transactions and when they become durable."""

    @property
    def connection(self) -> sqlite3.Connection:
        """Open, with ``isolation_level=None``."""
        ...

    async def commit(self, write: Write, rows: Rows) -> None:
        """Run ``write(connection, rows)`` in a transaction; return when it is durable."""
        ...


class GivenStore:
    """A store on somebody else's disk. It starts no thread."""

    def __init__(self, disk: GivenDisk) -> None:
        self.statements = for_sqlite()
        self._disk = disk

    async def open(self) -> None:
        """Migrate, if the disk is new."""
        schema.migrate_sqlite(self._disk.connection)

    async def commit(self, write: Write, rows: Rows) -> None:
        """Hand the rows to the disk. Raises StoreError."""
        try:
            await self._disk.commit(write, rows)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(str(error)) from error

    async def read(self, query: Callable[[Any], T]) -> T:
        """Read at once: the disk shows committed state only. Raises StoreError."""
        try:
            return query(self._disk.connection)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    async def close(self) -> None:
        """Nothing of ours to close."""
