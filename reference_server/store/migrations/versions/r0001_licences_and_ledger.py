"""Licences, leases, stored answers, API tokens, settings and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first six tables."""
    wide = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
    op.create_table(
        "events",
        sa.Column("seq", wide, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_table(
        "licences",
        sa.Column("id", sa.Text),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("seats", sa.Integer, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("issued_at", wide, nullable=False),
        sa.Column("expires_at", wide, nullable=True),
        sa.Column("number", wide, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_licences"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_licences_number", "licences", ["number"], unique=True)
    op.create_table(
        "leases",
        sa.Column("licence_id", sa.Text),
        sa.Column("device", sa.Text),
        sa.Column("lease_until", wide, nullable=False),
        sa.PrimaryKeyConstraint("licence_id", "device", name="pk_leases"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "answers",
        sa.Column("actor", sa.Text),
        sa.Column("key", sa.Text),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", wide, nullable=False),
        sa.PrimaryKeyConstraint("actor", "key", name="pk_answers"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", wide, nullable=False),
        sa.Column("revoked_at", wide, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("settings", "api_tokens", "answers", "leases", "licences", "events"):
        op.drop_table(table)
