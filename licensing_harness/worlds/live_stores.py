"""What befalls the store of a live target: for real where that can be done, else *not run*, with the reason.

A fault of a store is met by every change that was not acknowledged because of
it: one that ended as unknown while it was on, or that was still under way when
it was mended. Where the fault itself can count (sessions that were ended, bytes
that were delayed), its own number counts.

==================  ======================================  =========================================
kind                SQLite file                             PostgreSQL
==================  ======================================  =========================================
store-locked        another connection, ``BEGIN IMMEDIATE`` another session, ``LOCK TABLE ... EXCLUSIVE``
store-full          RLIMIT_FSIZE on the process (Linux)     not run
store-read-only     not run                                 the database's default, and new sessions
store-slow          not run                                 latency on the way to it
store-gone          not run                                 nobody listens on the way to it
terminated-backends not run                                 ``pg_terminate_backend``
==================  ======================================  =========================================
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Wanted

if TYPE_CHECKING:
    from licensing_harness.worlds.live_story import LiveStory
    from licensing_harness.worlds.process import TargetProcess

_LOCK_SECONDS: Final = 5.0
_OPEN_FILE: Final = "a process that has a file open goes on with it, whatever becomes of its name and its rights"
_SQLITE: Final[Mapping[FaultKind, str]] = {
    FaultKind.STORE_READ_ONLY: _OPEN_FILE,
    FaultKind.STORE_GONE: _OPEN_FILE,
    FaultKind.STORE_SLOW: "an SQLite file has no wire that could be slowed down",
    FaultKind.TERMINATED_BACKENDS: "SQLite has no sessions that could be ended",
}
"""Why a file can't be broken so."""


class Act(Protocol):
    """Something that is done to a store, now."""

    def undo(self) -> None:
        """Undo it, and see that it is undone; harmless when repeated. Raises as :meth:`Broken.mend` does."""
        ...

    def met(self) -> int | None:
        """How often it had an effect; None where only the calls can tell."""
        ...


class TargetStore(Protocol):
    """The store of a live target, as far as it can be broken."""

    def act(self, wanted: Wanted, process: TargetProcess | None) -> Act:
        """Break it. Raises NotRun, HarnessError."""
        ...


class StoreBroken:
    """A store that is broken, in a story; see the module on what *met* means."""

    def __init__(
        self, story: LiveStory, wanted: Wanted, store: TargetStore | None, process: TargetProcess | None
    ) -> None:
        if store is None:
            message = (
                f"{wanted.kind} needs the target's store: the harness breaks that of a reference server which it "
                "started, and a PostgreSQL database of yours (--licensing-store postgresql://HOST/DATABASE)"
            )
            raise NotRun(message)
        self.where = wanted.place or "store"
        self.detail: dict[str, Any] = dict(wanted.parameters)
        self._story = story
        self._before = story.over
        self._met = 0
        self._act = store.act(wanted, process)

    def mend(self) -> int:
        """Undo it, verified."""
        told = self._act.met()
        self._met = max(self._met, self._story.unacknowledged(self._before) if told is None else told)
        self._act.undo()
        return self._met


class SqliteFile:
    """The file of a reference server that the harness started."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def act(self, wanted: Wanted, process: TargetProcess | None) -> Act:
        """Lock it, or leave no room for it."""
        if wanted.kind in _SQLITE:
            message = f"{wanted.kind} can't be done to an SQLite file: {_SQLITE[wanted.kind]}"
            raise NotRun(message + "; PostgreSQL can (--licensing-store)")
        if wanted.kind is FaultKind.STORE_LOCKED:
            return SqliteLock(self.path)
        if process is None:
            message = "store-full needs a target that the harness started"
            raise NotRun(message)
        return NoRoom(process)


class SqliteLock:
    """Another connection holds the lock for writing; readers go on."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = sqlite3.connect(
            path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._connection.close()
            message = f"store-locked could not be set on {path.name}: {error}"
            raise HarnessError(message) from error

    def undo(self) -> None:
        """Let go of it."""
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            message = f"the lock on the store could not be let go: {error}"
            raise CleanUpIncomplete(message) from error
        finally:
            self._connection.close()
        self._connection = None

    def met(self) -> int | None:
        """The calls tell."""
        return None


class NoRoom:
    """No file of the process may be written to: every write fails with EFBIG, by RLIMIT_FSIZE. Linux only."""

    def __init__(self, process: TargetProcess) -> None:
        if sys.platform != "linux":
            message = "store-full needs Linux: elsewhere the limits of a running process can't be changed"
            raise NotRun(message)
        if not process.alive:  # and 0 would be ourselves
            message = "store-full could not be set: the target does not run"
            raise HarnessError(message)
        self._process = process
        self._pid = process.pid
        self._before = self._limit()
        self._on = True
        if self._set(0) != 0:
            message = "store-full could not be set: the limit on the process's files does not show"
            raise HarnessError(message)

    def _limit(self, new: tuple[int, int] | None = None) -> tuple[int, int]:
        import resource  # not on Windows

        try:
            if new is None:
                return resource.prlimit(self._pid, resource.RLIMIT_FSIZE)  # type: ignore[attr-defined,no-any-return,unused-ignore]
            return resource.prlimit(self._pid, resource.RLIMIT_FSIZE, new)  # type: ignore[attr-defined,no-any-return,unused-ignore]
        except OSError as error:
            message = f"store-full: the limits of process {self._pid} can't be changed: {error.strerror or error}"
            raise HarnessError(message) from error

    def _set(self, soft: int) -> int:
        self._limit((soft, self._before[1]))
        return self._limit()[0]

    def undo(self) -> None:
        """Give the limit back that there was."""
        if not self._on:
            return
        if self._process.pid != self._pid or not self._process.alive:
            self._on = False
            message = "store-full was gone before its end: the process that it was set on has ended"
            raise HarnessError(message)
        try:
            undone = self._set(self._before[0]) == self._before[0]
        except HarnessError as error:
            raise CleanUpIncomplete(str(error)) from error
        if not undone:
            message = f"store-full could not be removed from process {self._pid}"
            raise CleanUpIncomplete(message)
        self._on = False

    def met(self) -> int | None:
        """The calls tell."""
        return None
