"""The items that users have, in a store outside of the export: SQLite, PostgreSQL, Redis, or a prepared data set."""
