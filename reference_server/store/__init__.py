"""Where committed state lives: one set of tables, in SQLite or PostgreSQL."""
