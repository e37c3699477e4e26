"""The durable store: one set of tables on SQLite or PostgreSQL."""
