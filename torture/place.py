"""Where a seed's ledger lies: a place of its own, empty at first and gone afterwards."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from torture.plan import DATABASE, POINTS, Point, Role
from torture.writer import Where

SHARED_BATCHES = 4
LOCAL = ("", "localhost", "127.0.0.1", "::1")


class Place(Protocol):
    """A kind of store. `points`: where a fleet on it can die. `writers`: how many it takes at once."""

    name: str
    points: tuple[Point, ...]
    writers: int

    def empty(self, folder: Path) -> AbstractContextManager[Where]:
        """An empty ledger, for the time of the context."""

    def kill(self) -> bool:
        """`kill -9` in the middle of the database. Returns whether there was something to kill."""


class SqlitePlace:
    """A file in the seed's folder."""

    name = "SQLite"
    points: tuple[Point, ...] = POINTS
    writers = 1

    @contextmanager
    def empty(self, folder: Path) -> Iterator[Where]:
        """See `Place.empty`."""
        yield folder / "ledger.db"

    def kill(self) -> bool:
        """See `Place.kill`. There is no process but the writer's."""
        return False


def _shared(point: Point) -> Point:
    """Writers that take turns commit fewer and larger batches."""
    return replace(point, passings=SHARED_BATCHES) if point.role is Role.WRITER else point


class PostgresPlace:
    """A schema of the database at `url`. Its server gets killed, so it should be one that nobody needs."""

    name = "PostgreSQL"
    points: tuple[Point, ...] = (*map(_shared, POINTS), DATABASE)
    writers = 2

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def empty(self, folder: Path) -> Iterator[Where]:
        """See `Place.empty`."""
        schema = f"torture_{secrets.token_hex(6)}"
        self._run(f"CREATE SCHEMA {schema}")
        try:
            yield make_conninfo(self._url, options=f"-csearch_path={schema}")
        finally:
            self._run(f"DROP SCHEMA {schema} CASCADE")

    def kill(self) -> bool:
        """See `Place.kill`. A server whose backend was killed ends all others, and recovers."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            backend = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'vlmfleet' ORDER BY state = 'idle' LIMIT 1"
            ).fetchone()
            if backend is None:
                return False
            if self._is_here:
                os.kill(backend[0], signal.SIGKILL)
            else:
                connection.execute("SELECT pg_terminate_backend(%s)", backend)
        return True

    @property
    def _is_here(self) -> bool:
        host = str(conninfo_to_dict(self._url).get("host") or "")
        return host in LOCAL or host.startswith("/")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode())


def place_of(store: str) -> Place:
    """`sqlite`, or a `postgresql://` URL."""
    return SqlitePlace() if store == "sqlite" else PostgresPlace(store)
