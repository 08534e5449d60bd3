"""Runs the migrations on the connection that ``schema`` hands over. Alembic loads this file by path."""

from __future__ import annotations

from alembic import context

from reference_server.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # all of it or nothing, in SQLite too
)
with context.begin_transaction():
    context.run_migrations()
