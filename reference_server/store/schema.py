"""Brings a database to this server's tables: nothing to do costs one query, and Alembic is imported only to work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from reference_server.errors import EXIT_STORE, StartError

HEAD: Final = "r0001"
"""The newest migration."""

_HAS_VERSION: Final = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'",
    "postgresql": "SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL",
}


def version(connection: Any, dialect: str) -> str | None:
    """The migration that a database stands at; None for an empty one. Takes a DBAPI connection."""
    cursor = connection.cursor()
    try:
        cursor.execute(_HAS_VERSION[dialect])
        if cursor.fetchone() is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
    finally:
        cursor.close()
    return None if row is None else str(row[0])


def migrate_sqlite(connection: Any) -> None:
    """Bring an open sqlite3 connection (``isolation_level=None``) to ``HEAD``, in one transaction.

    Raises StartError for a database that a newer server made.
    """
    if version(connection, "sqlite") == HEAD:
        return
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as opened:
        _upgrade(opened)
    # Not disposed of: that would close a connection that is not ours.


def migrate_postgresql(url: str, connection: Any) -> None:
    """Bring the PostgreSQL database at ``url`` to ``HEAD``; ``connection`` is an open one, to look first."""
    if version(connection, "postgresql") == HEAD:
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    try:
        with engine.connect() as opened:
            _upgrade(opened)
    finally:
        engine.dispose()


def _upgrade(connection: Any) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
        connection.commit()
    except DBAPIError as error:  # to the caller the driver's own error says more
        raise error.orig or error from error
    except CommandError as error:
        message = (
            f"the database was made by another version of this server ({error}); start that one, or use a new --db"
        )
        raise StartError(message, EXIT_STORE) from error
