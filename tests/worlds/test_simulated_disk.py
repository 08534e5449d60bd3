"""The simulated disk: what survives, what is fenced, what fails."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from licensing_harness.worlds.disk import SimDisk, Store
from licensing_harness.worlds.loop import NodeLoop, PowerOff, Timeline


def insert(connection: sqlite3.Connection, rows: list[Any]) -> None:
    connection.executemany("INSERT INTO t VALUES (?)", [(row,) for row in rows])


def disk(seed: str = "1") -> SimDisk:
    made = SimDisk(seed)
    made.connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    return made


def numbers(of: SimDisk) -> list[int]:
    return [n for (n,) in of.connection.execute("SELECT n FROM t ORDER BY n")]


def commit(store: Store, rows: list[Any]) -> tuple[Timeline, NodeLoop, Any]:
    """A commit under way."""
    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    return timeline, node, node.create_task(store.commit(insert, rows))


def test_a_commit_takes_time_and_is_there() -> None:
    """The virtual fsync takes milliseconds; then the rows are in the database."""
    it = disk()
    timeline, _, task = commit(it.mount(), [1, 2])
    timeline.run()

    assert task.result() is None
    assert numbers(it) == [1, 2]
    assert 0.001 <= timeline.now <= 0.020
    it.close()


def test_a_failed_write_is_rolled_back_and_raised() -> None:
    """All of a batch or nothing, and the committer learns why."""
    it = disk()
    timeline, _, task = commit(it.mount(), [1, 1])
    timeline.run()

    with pytest.raises(sqlite3.IntegrityError):
        task.result()
    assert numbers(it) == []
    assert not it.connection.in_transaction
    it.close()


def test_a_crash_keeps_the_cache() -> None:
    """kill -9: what was written reaches the disk."""
    it = disk()
    timeline, node, _ = commit(it.mount(), [1])
    timeline.run(until=0)

    assert it.crash(power=False) == 0
    assert numbers(it) == [1]
    node.kill()
    it.close()


def test_a_power_loss_keeps_a_prefix() -> None:
    """Some seeds lose all, some nothing; never a later batch without an earlier one."""
    kept = set()
    for seed in range(30):
        it = disk(str(seed))
        timeline = Timeline()
        node = NodeLoop(timeline, "target")
        store = it.mount()
        for number in (1, 2, 3):
            node.create_task(store.commit(insert, [number]))
        timeline.run(until=0)
        lost = it.crash(power=True)
        kept.add(tuple(numbers(it)))
        node.kill()

        assert lost == 3 - len(numbers(it))
        it.close()

    assert kept == {(), (1,), (1, 2), (1, 2, 3)}


def test_the_store_of_a_dead_process_is_fenced() -> None:
    """Neither its connection nor its commit reaches the disk any more."""
    it = disk()
    store = it.mount()
    raw = store.connection
    it.crash(power=False)

    with pytest.raises(PowerOff):
        _ = store.connection
    timeline, node, task = commit(store, [1])
    timeline.run()
    with pytest.raises(PowerOff):
        task.result()
    with pytest.raises(sqlite3.ProgrammingError):
        raw.execute("INSERT INTO t VALUES (9)")
    assert numbers(it) == []
    node.kill()
    it.close()


def test_a_transaction_left_open_is_rolled_back_by_a_crash() -> None:
    """What a process did by hand and did not commit is gone."""
    it = disk()
    connection = it.mount().connection
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES (5)")
    it.crash(power=False)

    assert numbers(it) == []
    it.close()


def test_an_image_is_a_database() -> None:
    """A template is bytes; copies are independent."""
    first = disk()
    second = SimDisk("2", first.image())
    second.connection.execute("INSERT INTO t VALUES (1)")

    assert numbers(second) == [1]
    assert numbers(first) == []
    first.close()
    second.close()
