"""Revisions of the schema, oldest first in `versions`; expand in one release, contract in a later one."""
