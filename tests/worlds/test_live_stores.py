"""What befalls the store of a live reference server: no acknowledged write is lost, and it is well again by itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from licensing_harness.clock import RealClock
from licensing_harness.errors import GuardRefused, HarnessError, NotRun, TargetNotReady, UsageError
from licensing_harness.history import Header, HistoryWriter
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_postgresql import connect
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.process import ReferenceProcess
from licensing_harness.worlds.story import Setting

reference = pytest.importorskip("licensing_harness.target.reference")
pytest.importorskip("reference_server.__main__")
psycopg = pytest.importorskip("psycopg")

CLOCK = RealClock()
linux = pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")


def opened(process: ReferenceProcess, **more: Any) -> LiveWorld:
    masker = Masker()
    setting = Setting(
        adapter=reference.ReferenceAdapter,
        writer=HistoryWriter(None, Header(), masker),
        masker=masker,
        seed=1,
        tag="stores",
    )
    return LiveWorld(process, setting, **more)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[LiveWorld]:
    live = opened(ReferenceProcess(lease=60))
    yield live
    live.close()


@contextmanager
def broken(live: LiveWorld, kind: str, **parameters: float) -> Iterator[LiveStory]:
    """A story with a licence, whose store is broken in the context; after it is mended, all is well."""
    story = live.story(scenario="stores")
    try:
        yield from _broken(live, story, kind, parameters)
    except BaseException:
        story.abandon()
        raise


def _broken(live: LiveWorld, story: LiveStory, kind: str, parameters: dict[str, float]) -> Iterator[LiveStory]:
    before = story.fresh_licence(seats=3)
    taken = story.call("laptop", "activate", before)
    assert taken is not None
    assert taken.accepted
    on = story.fault(kind, place="store", parameters=parameters)

    yield story
    story.mend(on)
    after = story.fresh_licence(seats=3)
    kept = [story.call("phone", "validate", each) for each in (before, after)]
    kept += [story.call("phone", "activate", each) for each in (before, after)]
    assert [each and each.outcome.value for each in kept] == ["accepted"] * 4
    trail = story.call("vendor", "audit_log")
    assert trail is not None
    assert trail.accepted
    story.close()
    assert not [each for each in story.history.operations if each.refused]
    (fault,) = story.history.faults
    assert (fault.fault, fault.where) == (kind, "store")
    assert fault.end is not None
    assert fault.met >= 1, f"{kind} was not met"
    assert _lost(live, story) == []


def _lost(live: LiveWorld, story: LiveStory) -> list[str]:
    """Acknowledged licences that the server does not know after a kill: what it said and did not store."""
    live.kill()
    live.restart()
    lost = []
    with live.story(scenario="after"):
        for each in story.history.operations:
            if each.verb == "issue" and each.accepted:
                seen = _validate(live, story, each.licence)
                lost += [] if seen == "accepted" else [f"{each.licence}: {seen}"]
    return lost


def _validate(live: LiveWorld, story: LiveStory, label: str) -> str:
    grant = story._licences[label].grant
    assert grant is not None
    lane = live.client("phone").lane
    found: list[Any] = []
    lane.submit(lambda on: found.append(on.result(on.adapter.validate(grant.key), 5)))  # type: ignore[arg-type]
    assert lane.wait(6)
    return "accepted" if type(found[0]).__name__ == "Allowed" else repr(found)


def writes_are_unknown(story: LiveStory) -> None:
    """Changes get no answer that could be taken for one; reads go on."""
    story.fresh_licence(wait=False)
    renewed = story.call("laptop", "heartbeat", "L1")
    seen = story.call("phone", "validate", "L1")
    assert renewed is not None
    assert seen is not None
    assert (renewed.outcome.value, seen.outcome.value) == ("unknown", "accepted")
    assert "503" in renewed.reason, renewed
    story.settle()


@pytest.mark.parametrize("kind", ["store-locked", pytest.param("store-full", marks=linux)])
def test_an_sqlite_file_that_is_locked_or_full(sqlite: LiveWorld, kind: str) -> None:
    """Changes are answered with 503 and are unknown, readers go on; after it all is well, without a restart."""
    with broken(sqlite, kind) as story:
        writes_are_unknown(story)


def test_a_lock_that_ends_in_time_delays_a_change(sqlite: LiveWorld) -> None:
    """A change that waits for the lock when it goes is made, and the fault was met by it."""
    with broken(sqlite, "store-locked") as story:
        story.start("laptop", "heartbeat", "L1")
    (waited,) = [each for each in story.history.operations if each.verb == "heartbeat"]
    assert waited.accepted


@pytest.mark.parametrize("kind", ["store-locked", pytest.param("store-full", marks=linux)])
def test_a_store_that_nobody_wrote_to_was_not_met(sqlite: LiveWorld, kind: str) -> None:
    """Reads do not meet a lock, nor a disk without room."""
    with sqlite.story(scenario="stores") as story:
        label = story.fresh_licence()
        on = story.fault(kind)
        story.call("phone", "validate", label)
        story.mend(on)
    assert [each.met for each in story.history.faults] == [0]


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("store-read-only", {}, "becomes of its name and its rights"),
        ("store-gone", {}, "becomes of its name and its rights"),
        ("store-slow", {"delay": 5}, "has no wire that could be slowed down"),
        ("terminated-backends", {}, "SQLite has no sessions that could be ended"),
    ],
)
def test_what_a_file_can_not_be(sqlite: LiveWorld, kind: str, parameters: dict[str, float], says: str) -> None:
    """It is not run, with the reason, and with the store that can."""
    with sqlite.story(scenario="stores") as story, pytest.raises(NotRun, match=f"{says}; PostgreSQL can"):
        story.fault(kind, parameters=parameters)


@linux
def test_a_crash_takes_store_full_with_it(sqlite: LiveWorld) -> None:
    """A limit that went with its process was not there all the time: an error, not a drill that passed."""
    with sqlite.story(scenario="stores") as story:
        story.fresh_licence()
        on = story.fault("store-full")
        story.crash()
        with pytest.raises(HarnessError, match="store-full was gone before its end: the process"):
            story.mend(on)


@pytest.mark.parametrize("kind", ["store-locked", pytest.param("store-full", marks=linux)])
def test_ctrl_c_mends_the_store(sqlite: LiveWorld, kind: str) -> None:
    """Interrupted in mid-fault: the lock is let go, the limit is taken off."""
    story = sqlite.story(scenario="stores")
    story.fresh_licence()

    def interrupted() -> None:
        with story:
            story.fault(kind)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with sqlite.story(scenario="stores") as after:
        assert after.acknowledged(after.fresh_licence())


def test_a_lock_that_can_not_be_had_is_an_error(sqlite: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else holds it: the fault could not be set."""
    process: Any = sqlite.own_process("")
    monkeypatch.setattr("licensing_harness.worlds.live_stores._LOCK_SECONDS", 0.05)
    other = sqlite3.connect(process.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with sqlite.story(scenario="stores") as story, pytest.raises(HarnessError, match=r"could not be set .* is locked"):
        story.fault("store-locked")
    other.close()


# PostgreSQL ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgresql(postgresql_server: str) -> Iterator[LiveWorld]:
    live = opened(ReferenceProcess(store=f"{postgresql_server}/postgres", lease=60))
    yield live
    live.close()
    with connect(f"{postgresql_server}/postgres") as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'licensing_%'").fetchall()
    assert left == []


@pytest.mark.parametrize("kind", ["store-locked", "store-read-only", "store-gone"])
def test_postgresql_that_takes_no_writes(postgresql: LiveWorld, kind: str) -> None:
    """Locked, read-only after a failover, or away: 503 and unknown; then all is well, without a restart."""
    pid = postgresql.own_process("").pid
    with broken(postgresql, kind) as story:
        writes_are_unknown(story)
        assert postgresql.own_process("").pid == pid


def test_postgresql_that_is_slow(postgresql: LiveWorld) -> None:
    """Each thing said to it takes longer, and is counted; no change is lost."""
    with broken(postgresql, "store-slow", delay=60) as story:
        renewed = story.call("laptop", "heartbeat", "L1")
        assert renewed is not None
        assert renewed.accepted
        assert (renewed.end or 0) - renewed.begin >= 0.12  # it begins, it commits
    assert story.history.faults[0].met >= 2


def test_postgresql_that_ends_sessions(postgresql: LiveWorld) -> None:
    """The server makes new ones, and no change is the price."""
    with postgresql.story(scenario="stores") as story:
        label = story.fresh_licence(seats=3)
        story.fault("terminated-backends")
        story.contend("activate", label)
        story.settle()
        assert story.call("vendor", "audit_log") is not None
        assert [each for each in story.history.operations if not each.accepted] == []
    (fault,) = story.history.faults
    assert fault.fault is FaultKind.TERMINATED_BACKENDS
    assert fault.met >= 1


def test_sessions_that_end_under_load_lose_nothing(postgresql: LiveWorld) -> None:
    """Ended in the middle of commits: what was acknowledged is stored, what was not is unknown."""
    with postgresql.story(scenario="stores") as story:
        for _ in range(8):
            label = story.fresh_licence(seats=3, wait=False)
            story.contend("validate", label)
            story.fault("terminated-backends")
        story.settle()
        story.close()
        assert not [each for each in story.history.operations if each.refused]
    assert _lost(postgresql, story) == []


@pytest.mark.parametrize(("kind", "says"), [("store-full", "it would take a disk of its own")])
def test_what_postgresql_can_not_be(postgresql: LiveWorld, kind: str, says: str) -> None:
    """It is not run, with the reason."""
    with postgresql.story(scenario="stores") as story, pytest.raises(NotRun, match=says):
        story.fault(kind)


def test_a_read_only_database_is_undone_by_ctrl_c(postgresql: LiveWorld) -> None:
    """Interrupted in mid-fault: the default is taken back."""
    story = postgresql.story(scenario="stores")

    def interrupted() -> None:
        with story:
            story.fault("store-read-only")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    process: Any = postgresql.own_process("")
    with psycopg.connect(process.store.url) as connection:
        assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("off",)


def test_a_read_only_default_that_someone_else_took_back(postgresql: LiveWorld) -> None:
    """A fault that was not there all the time proves nothing."""
    process: Any = postgresql.own_process("")
    with postgresql.story(scenario="stores") as story:
        on = story.fault("store-read-only")
        with connect(process.store.url) as connection:
            connection.execute(f"ALTER DATABASE {process.store.name} RESET ALL")
        with pytest.raises(HarnessError, match="store-read-only was gone before its end"):
            story.mend(on)


def test_a_lock_whose_session_was_ended(postgresql: LiveWorld) -> None:
    """Somebody ended it: the lock was not there all the time."""
    process: Any = postgresql.own_process("")
    with postgresql.story(scenario="stores") as story:
        on = story.fault("store-locked")
        with connect(process.store.url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ExclusiveLock' AND locktype = 'relation'"
            )
        with pytest.raises(HarnessError, match="store-locked was gone before its end"):
            story.mend(on)


def test_the_store_of_a_target_that_is_not_ours(postgresql: LiveWorld) -> None:
    """Its database can be locked, not cut off; without one that was named, nothing can be done to it."""
    process: Any = postgresql.own_process("")
    url = postgresql.endpoint.url
    secrets = postgresql.secrets
    named = LiveWorld(url, _like(postgresql, secrets), store=process.store.url)
    story = named.story(scenario="theirs")
    label = story.fresh_licence(seats=3)
    on = story.fault("store-locked")
    held = story.call("laptop", "activate", label)
    story.mend(on)
    with pytest.raises(NotRun, match="needs the way to the database"):
        story.fault("store-gone")
    story.close()
    named.close()
    assert held is not None
    assert held.unknown
    assert [each.met for each in story.history.faults] == [1]
    nameless = LiveWorld(url, _like(postgresql, secrets))
    with nameless.story(scenario="theirs") as story, pytest.raises(NotRun, match="--licensing-store postgresql://"):
        story.fault("store-locked")
    nameless.close()


def _like(live: LiveWorld, secrets: dict[str, str]) -> Setting:
    setting = live.setting
    return Setting(
        adapter=setting.adapter,
        writer=setting.writer,
        masker=setting.masker,
        seed=1,
        tag="theirs",
        secrets=secrets,
    )


@pytest.mark.parametrize(
    ("store", "error", "says"),
    [
        ("postgresql://127.0.0.1:1/x", TargetNotReady, "PostgreSQL at postgresql://127.0.0.1:1/x can't be used"),
        ("mysql://127.0.0.1/x", UsageError, "is none to break: give postgresql://USER@HOST:PORT/DATABASE"),
        ("postgresql://me:pw@127.0.0.1/x", UsageError, "a password does not belong into the URL; set PGPASSWORD"),
        ("postgresql://192.0.2.1/x", GuardRefused, "192.0.2.1 is not a loopback host"),
        ("postgresql://127.0.0.1:x/x", UsageError, "is no URL"),
    ],
)
def test_a_store_that_can_not_be_used(store: str, error: type[HarnessError], says: str) -> None:
    """Told before anything is started, and nothing is left."""
    with pytest.raises(error, match=says):
        ReferenceProcess(store=store)


def test_a_server_that_is_killed_while_its_database_is_away(postgresql: LiveWorld) -> None:
    """A server that is killed while its database is away comes back when that does."""
    with postgresql.story(scenario="stores") as story:
        label = story.fresh_licence()
        on = story.fault("store-gone")
        os.kill(postgresql.own_process("").pid, signal.SIGKILL)
        story.mend(on)
        postgresql.kill()
        postgresql.restart()
        seen = story.call("phone", "validate", label)
    assert seen is not None
    assert seen.accepted
