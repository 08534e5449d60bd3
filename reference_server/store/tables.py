"""The tables. SQLAlchemy Core owns them; only column types that need no conversion are used.

Times are Unix milliseconds, features a JSON list, digests raw bytes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA: Final = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"},
)

# An INTEGER in SQLite holds 64 bits, and only under that name is it the table's own key.
_WIDE = Integer().with_variant(BigInteger(), "postgresql")

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("seq", _WIDE, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

LICENCES: Final = Table(
    "licences",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("seats", Integer, nullable=False),
    Column("features", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("standing", Text, nullable=False),
    Column("issued_at", _WIDE, nullable=False),
    Column("expires_at", _WIDE, nullable=True),
    Column("number", _WIDE, nullable=False),
    Index("ix_licences_number", "number", unique=True),
    sqlite_with_rowid=False,
)

LEASES: Final = Table(
    "leases",
    METADATA,
    Column("licence_id", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("lease_until", _WIDE, nullable=False),
    sqlite_with_rowid=False,
)

ANSWERS: Final = Table(
    "answers",
    METADATA,
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", _WIDE, nullable=False),
    sqlite_with_rowid=False,
)

API_TOKENS: Final = Table(
    "api_tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", _WIDE, nullable=False),
    Column("revoked_at", _WIDE, nullable=True),
    sqlite_with_rowid=False,
)

SETTINGS: Final = Table(
    "settings",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
