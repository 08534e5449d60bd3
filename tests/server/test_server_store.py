"""The store: the compiled way and Core's way agree, and what was committed is there after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from server_inside import Database, SqliteDatabase, run

from reference_server.errors import StartError, StoreError
from reference_server.store import migrations, schema
from reference_server.store.adapter import Store
from reference_server.store.compile import document, insert
from reference_server.store.rows import Rows
from reference_server.store.sqlite import SqliteStore
from reference_server.store.statements import COMPILED
from reference_server.store.tables import ANSWERS, API_TOKENS, EVENTS, LEASES, LICENCES, METADATA, SETTINGS

FIRST = Rows(
    events=[(1, b'{"a":"\xc3\xa9"}', bytes(32), b"\x01" * 32), (2, b"{}", b"\x01" * 32, b"\xff" * 32)],
    licences=[
        ("lic_a", "standard", 1, '["base"]', "Zoë 😀 'quoted' %s ?", "active", 1_800_000_000_000, None, 1),
        ("lic_b", "pro", 100_000, "[]", "", "active", 1_800_000_000_001, 2**53 - 1, 2),
    ],
    leases=[("lic_a", "laptop", 1_800_000_002_000), ("lic_b", "%s", 1), ("lic_b", "phone", 2)],
    answers=[("tok_a", "key", b"\x00" * 32, b"{}", 5), ("tok_b", "key", b"\x00\xff", b"", 6)],
    api_tokens=[("tok_a", "first", b"\x00" * 32, 5, None)],
    settings=[("kid", "one")],
)
SECOND = Rows(
    licences=[("lic_a", "standard", 1, '["base"]', "Zoë", "revoked", 1_800_000_000_000, 7, 1)],
    released=[("lic_b", "%s"), ("lic_b", "never there")],
    leases=[("lic_a", "laptop", 1_800_000_004_000)],
    api_tokens=[("tok_a", "first", b"\x00" * 32, 5, 9)],
    settings=[("kid", "two")],
)
TABLES = {
    "events": EVENTS,
    "licences": LICENCES,
    "leases": LEASES,
    "answers": ANSWERS,
    "api_tokens": API_TOKENS,
    "settings": SETTINGS,
}


def all_rows(engine: sqlalchemy.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, as Core reads them."""
    with engine.connect() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(sqlalchemy.select(table))), key=repr)
            for name, table in TABLES.items()
        }


def write_with_core(connection: sqlalchemy.Connection, rows: Rows) -> None:
    """What ``Statements.write`` does, by Core's own execution."""
    for name, table in TABLES.items():
        if name == "leases":
            for licence_id, device in rows.released:
                connection.execute(
                    sqlalchemy.delete(LEASES).where(LEASES.c.licence_id == licence_id, LEASES.c.device == device)
                )
        given: Sequence[tuple[Any, ...]] = getattr(rows, name)
        names = [column.name for column in table.columns]
        if given:
            statement = insert(table, connection.dialect, upsert=name != "events")
            connection.execute(statement, [dict(zip(names, row, strict=True)) for row in given])


def test_the_compiled_statements_write_what_core_writes(database: Database) -> None:
    """Row by row, on both databases: inserts, replacements and deletions."""

    async def compiled() -> dict[str, list[tuple[Any, ...]]]:
        store = database.store()
        await store.open()
        for rows in (FIRST, SECOND):
            await store.commit(store.statements.write, rows)
        await store.close()
        return all_rows(database.engine())

    by_driver = asyncio.run(compiled())
    with database.engine().begin() as connection:
        for table in TABLES.values():
            connection.execute(sqlalchemy.delete(table))
        for rows in (FIRST, SECOND):
            write_with_core(connection, rows)

    assert by_driver == all_rows(database.engine())
    assert by_driver["leases"] == [("lic_a", "laptop", 1_800_000_004_000), ("lic_b", "phone", 2)]
    assert by_driver["settings"] == [("kid", "two")]


def test_what_is_loaded_is_what_core_reads(database: Database) -> None:
    """The compiled selects give the rows that Core gives, and of the ledger the last one."""

    async def body() -> None:
        store = database.store()
        await store.open()
        await store.commit(store.statements.write, FIRST)
        stock = await store.read(store.statements.load)
        page, head = await store.read(lambda connection: store.statements.events(connection, after=1, count=10))
        kid = await store.read(lambda connection: store.statements.setting(connection, "kid"))
        missing = await store.read(lambda connection: store.statements.setting(connection, "nothing"))
        await store.close()
        there = all_rows(database.engine())

        assert sorted(map(tuple, stock.licences), key=repr) == there["licences"]
        assert sorted(map(tuple, stock.leases), key=repr) == there["leases"]
        assert sorted(map(tuple, stock.answers), key=repr) == there["answers"]
        assert sorted(map(tuple, stock.api_tokens), key=repr) == there["api_tokens"]
        assert list(map(tuple, stock.head)) == [there["events"][1]]
        assert list(map(tuple, page)) == [there["events"][1]] == list(map(tuple, head))
        assert (kid, missing) == ("one", None)

    run(body())


def test_migrations_make_the_tables_of_the_metadata(database: Database) -> None:
    """What the migrations made and what ``tables`` declares do not differ."""

    async def body() -> None:
        store = database.store()
        await store.open()
        await store.close()

    run(body())
    with database.engine().connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_head_is_the_newest_migration() -> None:
    """``schema.HEAD`` names the head of the scripts, so that looking first is enough."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_a_database_of_a_newer_server_is_refused(database: Database) -> None:
    """It is named, with the way out, and left as it is."""

    async def opened() -> None:
        store = database.store()
        try:
            await store.open()
        finally:
            await store.close()

    run(opened())
    with database.engine().begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(StartError, match=r"another version of this server"):
        run(opened())


def test_a_second_server_on_the_same_database_is_refused(database: Database) -> None:
    """Two writers would each believe in a state that the other changes."""

    async def body() -> None:
        first, second = database.store(), database.store()
        await first.open()
        with pytest.raises(StartError, match=r"in use by another server"):
            await second.open()
        await first.close()
        third = database.store()
        await third.open()
        await third.close()

    run(body())


def test_a_batch_that_fails_leaves_nothing(database: Database) -> None:
    """The second event repeats the first one's number: neither is there, nor is the licence; the next batch works."""

    async def body() -> None:
        store = database.store()
        await store.open()
        broken = FIRST._replace(events=[FIRST.events[0], FIRST.events[0]])
        with pytest.raises(StoreError):
            await store.commit(store.statements.write, broken)
        assert await _licences(store) == 0
        await store.commit(store.statements.write, FIRST)
        assert await _licences(store) == 2
        await store.close()

    run(body())


async def _licences(store: Store) -> int:
    return len((await store.read(store.statements.load)).licences)


_END_OTHERS = sqlalchemy.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_a_lost_connection_is_made_anew(postgresql: Database) -> None:
    """PostgreSQL ends our sessions between two commits: neither a commit nor a read is the price."""

    async def body() -> None:
        store = postgresql.store()
        await store.open()
        with postgresql.engine().connect() as connection:
            connection.execute(_END_OTHERS)
        await store.commit(store.statements.write, FIRST)
        assert await _licences(store) == 2
        with postgresql.engine().connect() as connection:
            connection.execute(_END_OTHERS)
        assert await _licences(store) == 2
        await store.commit(store.statements.write, Rows(settings=[("a", "b")]))
        await store.close()

    run(body())


def test_a_ledger_that_went_on_without_us_is_read_anew(postgresql: Database) -> None:
    """While the session was gone another server may have written: the batch fails, and nothing of it is stored."""

    async def body() -> None:
        store = postgresql.store()
        await store.open()
        await store.commit(store.statements.write, FIRST)
        with postgresql.engine().connect() as connection:
            connection.execute(_END_OTHERS)
            connection.execute(sqlalchemy.text("INSERT INTO events VALUES (99, '\\x00', '\\x00', '\\x00')"))
            connection.commit()
        with pytest.raises(StoreError, match="the ledger is to be read anew"):
            await store.commit(store.statements.write, Rows(settings=[("a", "b")]))
        assert await store.read(lambda connection: store.statements.setting(connection, "a")) is None
        await store.close()

    run(body())


def test_a_lock_of_somebody_elses_is_waited_for_so_long(postgresql: Database) -> None:
    """A table that stays locked fails the batch, before a client gives up; then the next one is committed."""

    async def body() -> None:
        store = postgresql.store()
        await store.open()
        with postgresql.engine().connect() as connection:
            connection.execute(sqlalchemy.text("LOCK TABLE events IN EXCLUSIVE MODE"))
            with pytest.raises(StoreError, match="lock timeout"):
                await store.commit(store.statements.write, FIRST)
            assert await _licences(store) == 0
        await store.commit(store.statements.write, FIRST)
        assert await _licences(store) == 2
        await store.close()

    run(body())


def test_sqlite_commits_to_the_disk(tmp_path: Path) -> None:
    """WAL, with an fsync at every commit."""

    async def body() -> None:
        store = SqliteStore(tmp_path / "licences.db")
        await store.open()
        assert await store.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
        assert store._writing is not None
        assert store._writing.execute("PRAGMA synchronous").fetchone() == (2,)
        await store.close()

    run(body())


def test_a_database_locked_by_somebody_else_is_named(tmp_path: Path) -> None:
    """Another process holds a write lock: one line, with the way out."""

    async def body() -> None:
        other = sqlite3.connect(tmp_path / "licences.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            with pytest.raises(StartError, match=r"locked.*another process holds it"):
                await SqliteDatabase(tmp_path / "licences.db").store().open()
        finally:
            other.close()

    run(body())


def test_a_full_disk_refuses_a_batch_and_keeps_what_was(tmp_path: Path) -> None:
    """SQLite says full: StoreError, nothing half done, and with room again the next batch is committed."""

    async def body() -> None:
        store = SqliteStore(tmp_path / "licences.db")
        await store.open()
        assert store._writing is not None
        (pages,) = store._writing.execute("PRAGMA page_count").fetchone()
        store._writing.execute(f"PRAGMA max_page_count = {pages}")
        large = Rows(answers=[("actor", "key", b"", bytes(1_000_000), 1)])
        with pytest.raises(StoreError, match=r"full"):
            await store.commit(store.statements.write, large)
        store._writing.execute("PRAGMA max_page_count = 1000000")
        await store.commit(store.statements.write, large)
        assert len((await store.read(store.statements.load)).answers) == 1
        await store.close()

    run(body())


def test_the_compiled_file_is_what_core_compiles() -> None:
    """Whoever changes a table or a statement writes the file anew: ``python -m reference_server.store.compile``."""
    assert COMPILED.read_text(encoding="utf-8") == document()


def test_serving_does_not_import_sqlalchemy() -> None:
    """A start on a database that is up to date needs neither SQLAlchemy nor Alembic."""
    code = "import sys, reference_server.__main__, reference_server.store.sqlite; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"sqlalchemy", "alembic"} & set(done.stdout.split())
