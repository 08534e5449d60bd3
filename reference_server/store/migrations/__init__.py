"""Alembic's home: ``env.py`` and the versions. ``schema.migrate_*`` run them at start."""
