"""The platform's database: SQLite on one machine, PostgreSQL beyond, one schema for both."""
