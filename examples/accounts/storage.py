"""The database: by default SQLite, in a file of the application's folder."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateIndex, CreateTable


class Base(DeclarativeBase):
    """The models derive from it and not from `db.Model`, which type checkers do not know."""


db = SQLAlchemy(metadata=Base.metadata)

#: The largest id that the tables of every database hold; a query with a larger one fails.
LARGEST_ID = 2**31 - 1


def utcnow() -> datetime:
    """Return the time as it is stored: in UTC, and without a zone, because SQLite keeps none."""
    return datetime.now(UTC).replace(tzinfo=None)


def create_tables() -> None:
    """Create the tables that are missing; later changes of them are for Flask-Migrate.

    `db.create_all()` looks first and creates then, so of two workers that start together the
    second one would fail.
    """
    with db.engine.begin() as connection:
        for table in db.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
