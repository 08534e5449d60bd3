"""PostgreSQL through psycopg: one connection that commits, one that reads, each with its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import psycopg

from reference_server.errors import EXIT_STORE, StartError, StoreError
from reference_server.store import schema
from reference_server.store.adapter import Write
from reference_server.store.rows import Rows
from reference_server.store.statements import for_postgresql

T = TypeVar("T")

_OURS: Final = 0x6C6963656E6365
"""The advisory lock that one server holds in its database."""

_CONNECT_SECONDS: Final = 5

_LOCK_MS: Final = 2000
"""How long a statement waits for somebody else's lock, as with SQLite."""


class PostgresqlStore:
    """One server's database. A second server on the same database is refused."""

    def __init__(self, url: str) -> None:
        self.statements = for_postgresql()
        self._url = url
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._writing: psycopg.Connection[Any] | None = None
        self._reading: psycopg.Connection[Any] | None = None
        self._last: int | None = None
        """The number of the last event, as this server left the ledger; None while there is none."""

    async def open(self) -> None:
        """Connect, lock and migrate. Raises StartError."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._committer, self._start)
        except (psycopg.Error, StoreError) as error:
            await self.close()
            said = " ".join(str(error).split())
            message = f"the database {shown(self._url)} can't be used ({said}): check --db and that PostgreSQL runs"
            raise StartError(message, EXIT_STORE) from error
        except BaseException:
            await self.close()
            raise

    async def commit(self, write: Write, rows: Rows) -> None:
        """Write the rows in one transaction that is durable when this returns. Raises StoreError."""
        await asyncio.get_running_loop().run_in_executor(self._committer, self._commit, write, rows)

    async def read(self, query: Callable[[Any], T]) -> T:
        """Run ``query`` in the reading thread. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, query)

    async def close(self) -> None:
        """Close both connections and end both threads."""
        loop = asyncio.get_running_loop()
        if self._reading is not None:
            await loop.run_in_executor(self._reader, self._reading.close)
        if self._writing is not None:
            await loop.run_in_executor(self._committer, self._writing.close)
        self._reading = self._writing = None
        self._committer.shutdown()
        self._reader.shutdown()

    def _start(self) -> None:
        connection = self._writer()
        schema.migrate_postgresql(self._url, connection)
        self._last = self._head(connection)

    def _opened(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS)

    def _writer(self) -> psycopg.Connection[Any]:
        """The writing connection, made anew when it was lost. Raises StartError, psycopg.Error."""
        if self._writing is None or self._writing.closed:
            connection = self._opened()
            connection.execute("SET synchronous_commit = on")
            connection.execute(f"SET lock_timeout = {_LOCK_MS:d}")
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_OURS,)).fetchone()
            if row is None or not row[0]:
                connection.close()
                message = (
                    f"the database {shown(self._url)} is in use by another server; stop that one, or use another --db"
                )
                raise StartError(message, EXIT_STORE)
            self._writing = connection
        return self._writing

    def _begun(self) -> psycopg.Connection[Any]:
        """A connection on which a transaction was begun.

        A session that was ended since the last commit is replaced: nothing of
        this batch was said yet. But while it was gone its lock was nobody's, so
        the ledger must be as this server left it.
        """
        connection = self._writer()
        try:
            connection.execute("BEGIN")
        except psycopg.OperationalError:
            if not connection.closed:
                raise
        else:
            return connection
        connection = self._writer()
        connection.execute("BEGIN")
        if self._head(connection) != self._last:
            connection.execute("ROLLBACK")
            raise StoreError("the session was lost, and the ledger is to be read anew")
        return connection

    def _head(self, connection: psycopg.Connection[Any]) -> int | None:
        found = connection.execute(self.statements.last_event).fetchone()
        return None if found is None else int(found[0])

    def _commit(self, write: Write, rows: Rows) -> None:
        try:
            connection = self._begun()
            try:
                write(connection, rows)
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
        except (psycopg.Error, StartError) as error:
            raise StoreError(" ".join(str(error).split())) from error
        if rows.events:
            self._last = rows.events[-1][0]

    def _read(self, query: Callable[[Any], T]) -> T:
        """A session that was ended since the last read is replaced: to read again changes nothing."""
        try:
            if self._reading is not None and not self._reading.closed:
                try:
                    return query(self._reading)
                except psycopg.OperationalError:
                    if not self._reading.closed:
                        raise
            self._reading = self._opened()
            return query(self._reading)
        except psycopg.Error as error:
            raise StoreError(" ".join(str(error).split())) from error


def shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
