"""A PostgreSQL database that a live target works with, and what can be done to it.

For a reference server that the harness starts, it makes a database of its own
on the PostgreSQL that it was given, removes it at the end, and puts a port of
the embedded proxy before it. Of a target that it did not start it is told the
database; the way there is not its own, so that can't be slow or gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from licensing_harness.errors import CleanUpIncomplete, GuardRefused, HarnessError, NotRun, TargetNotReady, UsageError
from licensing_harness.faults.toxics import Toxic
from licensing_harness.faults.wire import Proxy, Wire
from licensing_harness.target.guard import allowed_host, masked_url
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Wanted

if TYPE_CHECKING:
    from psycopg import Connection

    from licensing_harness.worlds.live_stores import Act
    from licensing_harness.worlds.process import TargetProcess

SCHEMES: Final = ("postgresql", "postgres")
_NAME: Final = "licensing-harness"
"""What our sessions call themselves: they are not ended with those of the target."""

_CONNECT: Final = 5
_PORT: Final = 5432
_SESSIONS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND application_name <> %s AND pid <> pg_backend_pid()"
)
_LEFT: Final = "SELECT count(*), pg_sleep(0.01)::text FROM pg_stat_activity WHERE pid = ANY(%s)"
_ENDING: Final = 500
"""Looks, a hundredth of a second apart, within which sessions that were told to must have ended."""

_TABLES: Final = (
    "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
    "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)
_STATED: Final = (
    "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c "
    "WHERE d.datname = current_database() AND s.setrole = 0 AND c LIKE 'default_transaction_read_only=%%'"
)


def check_store(url: str, allow: tuple[str, ...]) -> str:
    """The URL of a PostgreSQL, as it may be used. Raises UsageError, GuardRefused, TargetNotReady."""
    shown = masked_url(url)
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError as error:
        message = f"--licensing-store {shown!r} is no URL: {error}"
        raise UsageError(message) from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        message = f"--licensing-store {shown!r} is none to break: give postgresql://USER@HOST:PORT/DATABASE"
        raise UsageError(message)
    if parts.password is not None:
        message = f"--licensing-store {shown!r}: a password does not belong into the URL; set PGPASSWORD"
        raise UsageError(message)
    if not allowed_host(parts.hostname, parts.port or _PORT, allow):
        message = (
            f"{parts.hostname} is not a loopback host, and the harness breaks the store that it is given. "
            f"If it is meant for tests: --licensing-allow-host {parts.hostname}"
        )
        raise GuardRefused(message)
    return url


def connect(url: str, **more: Any) -> Connection[Any]:
    """A session of ours that may write whatever the database's default is. Raises HarnessError, NotRun."""
    try:
        import psycopg
    except ImportError as error:
        message = "needs psycopg to speak to PostgreSQL: pip install 'licensing-harness[server]'"
        raise NotRun(message) from error
    try:
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=_CONNECT,
            application_name=_NAME,
            options="-c default_transaction_read_only=off",
            **more,
        )
    except psycopg.Error as error:
        message = f"PostgreSQL at {masked_url(url)} can't be used: {_said(error)}"
        raise HarnessError(message) from error


@contextmanager
def _session(url: str) -> Iterator[Connection[Any]]:
    import psycopg

    with connect(url) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            message = f"PostgreSQL at {masked_url(url)}: {_said(error)}"
            raise HarnessError(message) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())


class Database:
    """A database by its URL. ``proxy`` is the port of ours that the target reaches it through, if there is one."""

    def __init__(self, url: str, wire: Wire | None = None, proxy: Proxy | None = None) -> None:
        self.url = url
        self._wire = wire
        self._proxy = proxy

    def act(self, wanted: Wanted, process: TargetProcess | None) -> Act:
        """Break it. Raises NotRun, HarnessError."""
        del process
        match wanted.kind:
            case FaultKind.TERMINATED_BACKENDS:
                return Terminated(self.url)
            case FaultKind.STORE_LOCKED:
                return Locked(self.url)
            case FaultKind.STORE_READ_ONLY:
                return ReadOnly(self.url)
            case FaultKind.STORE_GONE | FaultKind.STORE_SLOW as kind:
                if self._wire is None or self._proxy is None:
                    message = (
                        f"{kind} needs the way to the database: that of a reference server which the harness started"
                    )
                    raise NotRun(message)
                if kind is FaultKind.STORE_GONE:
                    return Gone(self._wire, self._proxy)
                return Slow(self._wire, self._proxy, int(wanted.parameters["delay"]))
            case kind:
                message = f"{kind} can't be done to PostgreSQL: it would take a disk of its own; an SQLite file can"
                raise NotRun(message)


class OwnDatabase(Database):
    """A new database on the PostgreSQL at ``server``; ``through`` is the URL for the target. ``close`` removes it.

    Raises TargetNotReady when it can't be made.
    """

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._server = server
        self.name = f"licensing_{os.getpid()}_{id(self):x}"
        try:
            with _session(server) as connection:
                connection.execute(f"CREATE DATABASE {self.name}")  # type: ignore[call-overload,unused-ignore]
        except HarnessError as error:
            message = f"--licensing-store: {error}. The user must be one who may create databases"
            raise TargetNotReady(message) from error
        with ExitStack() as undo:
            undo.callback(self._drop)
            wire = Wire()
            undo.callback(wire.close)
            host = str(parts.hostname)
            proxy = wire.open(name="store", upstream=(host, parts.port or _PORT))
            undo.pop_all()
        user = f"{quote(parts.username)}@" if parts.username else ""
        query = f"?{parts.query}" if parts.query else ""
        at = f"[{host}]" if ":" in host else host
        super().__init__(f"postgresql://{user}{at}:{parts.port or _PORT}/{self.name}{query}", wire, proxy)
        self.through = f"postgresql://{user}127.0.0.1:{proxy.listen[1]}/{self.name}{query}"

    def _drop(self) -> None:
        with _session(self._server) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")  # type: ignore[call-overload,unused-ignore]

    def close(self) -> None:
        """Remove the database and the port. Raises CleanUpIncomplete."""
        if self._wire is None:
            return
        wire, self._wire = self._wire, None
        try:
            self._drop()
        except HarnessError as error:
            message = f"the database {self.name} could not be removed: {error}"
            raise CleanUpIncomplete(message) from error
        finally:
            wire.close()


class Terminated:
    """Every session of the target was ended. Met: by each that there was."""

    def __init__(self, url: str) -> None:
        self._count = terminate(url)

    def undo(self) -> None:
        """It is over already."""

    def met(self) -> int | None:
        """How many sessions were ended."""
        return self._count


def terminate(url: str) -> int:
    """End every session but ours; returns how many there were, when they are gone. Raises HarnessError."""
    with _session(url) as connection:
        return _ended(connection)


def _ended(connection: Connection[Any]) -> int:
    sessions = [row[0] for row in connection.execute(_SESSIONS, (_NAME,))]
    for each in sessions:
        connection.execute("SELECT pg_terminate_backend(%s)", (each,))
    for _ in range(_ENDING):
        left = connection.execute(_LEFT, (sessions,)).fetchone()
        if left is None or not left[0]:
            return len(sessions)
    message = f"{len(sessions)} sessions were told to end, and not all of them did"
    raise HarnessError(message)


def _tables(connection: Connection[Any], url: str) -> list[str]:
    tables = [str(row[0]) for row in connection.execute(_TABLES)]
    if not tables:
        message = f"store-locked: the database at {masked_url(url)} has no tables to lock"
        raise NotRun(message)
    return tables


class Locked:
    """Another session holds every table against writers; readers go on."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._connection: Connection[Any] | None = connect(url)
        try:
            tables = _tables(self._connection, url)
            self._connection.execute("BEGIN")
            self._connection.execute("SET LOCAL lock_timeout = '5s'")
            self._connection.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
        except psycopg.Error as error:
            self._connection.close()
            message = f"store-locked could not be set: {_said(error)}"
            raise HarnessError(message) from error
        except BaseException:
            self._connection.close()
            raise

    def undo(self) -> None:
        """Let go, if it was held until now."""
        import psycopg

        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error as error:
            message = f"store-locked was gone before its end: the session that held the lock was ended ({_said(error)})"
            raise HarnessError(message) from error
        finally:
            connection.close()

    def met(self) -> int | None:
        """The calls tell."""
        return None


class ReadOnly:
    """New sessions may only read, and the old ones are ended, so that all are new ones: as after a failover."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._on = False
        with _session(url) as connection:
            row = connection.execute(_STATED).fetchone()
            if row is not None and row[0]:
                message = "store-read-only: the database states default_transaction_read_only already; RESET it first"
                raise HarnessError(message)
            self._on = True
            try:
                self._state(connection, "SET default_transaction_read_only = on")
                _ended(connection)
            except BaseException:
                with suppress(HarnessError):
                    self.undo()
                raise

    def _state(self, connection: Connection[Any], what: str) -> None:
        row = connection.execute("SELECT quote_ident(current_database())").fetchone()
        name = row[0] if row else ""
        connection.execute(f"ALTER DATABASE {name} {what}")  # type: ignore[call-overload,unused-ignore]

    def undo(self) -> None:
        """Take the default back, and end the sessions that still have it."""
        if not self._on:
            return
        try:
            with _session(self._url) as connection:
                stated = connection.execute(_STATED).fetchone()
                self._state(connection, "RESET default_transaction_read_only")
                _ended(connection)
                left = connection.execute(_STATED).fetchone()
        except HarnessError as error:
            message = f"store-read-only could not be removed: {error}"
            raise CleanUpIncomplete(message) from error
        if left is None or left[0]:
            message = "store-read-only could not be removed: the database still states it"
            raise CleanUpIncomplete(message)
        self._on = False
        if stated is None or not stated[0]:
            message = "store-read-only was gone before its end: someone else removed it"
            raise HarnessError(message)

    def met(self) -> int | None:
        """The calls tell."""
        return None


class Gone:
    """Nobody listens on the target's way to the database, and its connections are closed."""

    def __init__(self, wire: Wire, proxy: Proxy) -> None:
        self._wire, self._proxy = wire, proxy
        wire.run(proxy.stop)

    def undo(self) -> None:
        """Listen again, on the same port."""
        try:
            self._wire.run(self._proxy.start)
        except OSError as error:
            message = f"store-gone could not be removed: {error}"
            raise CleanUpIncomplete(message) from error

    def met(self) -> int | None:
        """The calls tell."""
        return None


class Slow:
    """What the target says to the database arrives ``delay`` ms later. Met: by each thing said."""

    def __init__(self, wire: Wire, proxy: Proxy, delay: int) -> None:
        self._wire, self._proxy = wire, proxy
        self._toxic = Toxic(name="slow", type="latency", stream="upstream", attributes={"latency": delay, "jitter": 0})
        wire.call(lambda: proxy.add(self._toxic))

    def undo(self) -> None:
        """Take the delay away."""
        self._wire.call(lambda: self._proxy.remove(self._toxic) if self._toxic in self._proxy.toxics else None)

    def met(self) -> int | None:
        """How many messages were late."""
        return self._toxic.hits
