"""Postgres behind the ports: one file for each port, SQL in `sql/`, the schema in `migrations/`."""
