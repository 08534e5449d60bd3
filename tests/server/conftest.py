"""Fixtures of the server's tests: a disk, a clock, and a database of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from server_inside import Database, Disk, Hand, PostgresqlDatabase, SqliteDatabase


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.close()


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def postgresql(postgresql_server: str, request: pytest.FixtureRequest) -> PostgresqlDatabase:
    """A new database on that server."""
    name = f"t{abs(hash(request.node.nodeid))}"
    with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return PostgresqlDatabase(f"{postgresql_server}/{name}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "licences.db")
    made: PostgresqlDatabase = request.getfixturevalue("postgresql")
    return made
