"""SQLite on a file: WAL, synchronous=FULL, one thread that commits and one that reads."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from reference_server.errors import EXIT_STORE, StartError, StoreError
from reference_server.store import schema
from reference_server.store.adapter import Write
from reference_server.store.rows import Rows
from reference_server.store.statements import for_sqlite

T = TypeVar("T")

BUSY_MS: Final = 2000
"""How long a statement waits for somebody else's lock."""

_WRITABLE: Final = "it is read-only for this user; make the file and its folder writable, or use another --db"
_WAYS_OUT: Final = (
    ("locked", "another process holds it; stop that one, or use another --db"),
    ("readonly", _WRITABLE),
    ("read-only", _WRITABLE),
    ("permi", _WRITABLE),
    ("not a database", "it is some other file; give the path of a new one with --db"),
    ("unable to open", "its folder must exist and be writable, and the path must not be a folder"),
    ("full", "free some space on that disk, or use another --db"),
    ("disk i/o error", "look at that disk: it is full, broken, or gone"),
)


def unusable(path: Path, error: Exception) -> StartError:
    """A line for somebody who starts the server: what is wrong with the database, and the way out."""
    said = str(error)
    way = next((way for sign, way in _WAYS_OUT if sign in said.lower()), "use another --db")
    return StartError(f"the database {path} can't be used ({said}): {way}", EXIT_STORE)


class SqliteStore:
    """One server's database file. A second server on the same file is refused."""

    def __init__(self, path: Path, *, busy_ms: int = BUSY_MS) -> None:
        self.statements = for_sqlite()
        self._path = path
        self._busy_ms = busy_ms
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Lock the file, connect and migrate. Raises StartError."""
        loop = asyncio.get_running_loop()
        try:
            self._lock = _locked(self._path)
            await loop.run_in_executor(self._committer, self._connect)
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise unusable(self._path, error) from error
        except BaseException:
            await self.close()
            raise

    async def commit(self, write: Write, rows: Rows) -> None:
        """Write the rows in one transaction that is on the disk when this returns. Raises StoreError."""
        await asyncio.get_running_loop().run_in_executor(self._committer, self._commit, write, rows)

    async def read(self, query: Callable[[Any], T]) -> T:
        """Run ``query`` in the reading thread. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, query)

    async def close(self) -> None:
        """Close both connections, end both threads and let go of the file."""
        loop = asyncio.get_running_loop()
        if self._reading is not None:
            await loop.run_in_executor(self._reader, self._reading.close)
        if self._writing is not None:
            await loop.run_in_executor(self._committer, self._writing.close)
        self._reading = self._writing = None
        self._committer.shutdown()
        self._reader.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _connect(self) -> None:
        self._writing = self._opened()
        self._writing.execute("PRAGMA journal_mode = WAL")
        self._writing.execute("PRAGMA synchronous = FULL")
        schema.migrate_sqlite(self._writing)
        # A read-only file can still be read: show now that it can be written.
        self._writing.execute("BEGIN IMMEDIATE")
        self._writing.execute("ROLLBACK")
        self._reading = self._opened()
        self._reading.execute("PRAGMA query_only = ON")

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {self._busy_ms:d}")
        return connection

    def _commit(self, write: Write, rows: Rows) -> None:
        connection = self._writing
        if connection is None:
            raise StoreError("the store is closed")
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                write(connection, rows)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _read(self, query: Callable[[Any], T]) -> T:
        if self._reading is None:
            raise StoreError("the store is closed")
        try:
            return query(self._reading)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error


def _locked(path: Path) -> int:
    """Hold ``<path>.lock`` until the process ends. Raises StartError when another server holds it."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            message = f"the database {path} is in use by another server; stop that one, or use another --db"
            raise StartError(message, EXIT_STORE) from error
    return lock
