"""Compiles the statements of the hot paths by SQLAlchemy Core, once a dialect, into ``compiled.json``.

The server reads that file and never imports SQLAlchemy unless it has to migrate:
half of what its start would cost. A test holds the file against what Core
compiles today; ``python -m reference_server.store.compile`` writes it anew.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ClauseElement, Table, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect

from reference_server.store.statements import COMPILED
from reference_server.store.tables import ANSWERS, API_TOKENS, EVENTS, LEASES, LICENCES, SETTINGS


def insert(table: Table, dialect: Dialect, *, upsert: bool) -> Any:
    """The Core statement that adds a row, or replaces the one with the same key."""
    make = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement = make(table)
    if not upsert:
        return statement
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


def dialects() -> dict[str, Dialect]:
    """The two dialects: ``?`` for sqlite3, ``%s`` for psycopg, places instead of names in both."""
    return {
        "sqlite": sqlite.dialect(),
        "postgresql": PGDialect_psycopg(paramstyle="format"),  # type: ignore[no-untyped-call]
    }


def compiled(dialect: Dialect) -> dict[str, str]:
    """Every statement as text, by the name of the field of ``Statements`` that it fills."""

    def added(table: Table, *, upsert: bool) -> str:
        names = list(table.columns.keys())
        done = insert(table, dialect, upsert=upsert).compile(dialect=dialect, column_keys=names)
        if done.positiontup != names:
            message = f"the {dialect.name} dialect orders the columns of {table.name} differently"
            raise AssertionError(message)
        return str(done)

    def text(statement: ClauseElement) -> str:
        return str(statement.compile(dialect=dialect))

    last = select(func.max(EVENTS.c.seq)).scalar_subquery()
    some = select(EVENTS).where(EVENTS.c.seq > bindparam("after"), EVENTS.c.seq <= bindparam("last"))
    gone = delete(LEASES).where(LEASES.c.licence_id == bindparam("l"), LEASES.c.device == bindparam("d"))
    return {
        "event": added(EVENTS, upsert=False),
        "answer": added(ANSWERS, upsert=True),
        "licence": added(LICENCES, upsert=True),
        "lease": added(LEASES, upsert=True),
        "api_token": added(API_TOKENS, upsert=True),
        "put_setting": added(SETTINGS, upsert=True),
        "released": text(gone),
        "all_licences": text(select(LICENCES).order_by(LICENCES.c.number)),
        "all_leases": text(select(LEASES)),
        "all_answers": text(select(ANSWERS)),
        "all_api_tokens": text(select(API_TOKENS)),
        "last_event": text(select(EVENTS).where(EVENTS.c.seq == last)),
        "some_events": text(some.order_by(EVENTS.c.seq)),
        "one_setting": text(select(SETTINGS.c.value).where(SETTINGS.c.name == bindparam("name"))),
    }


def document() -> str:
    """What ``compiled.json`` must hold."""
    both = {name: compiled(dialect) for name, dialect in dialects().items()}
    return json.dumps(both, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    COMPILED.write_text(document(), encoding="utf-8")
