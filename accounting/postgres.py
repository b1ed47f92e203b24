"""The shared store: a PostgreSQL database, with any number of writers.

Writers take turns: each transaction begins with the one advisory lock of the ledger. A group commit is one transaction of up
to 256 commands, so turns are few, and what rows locks would bring in is spared: no deadlocks between budgets that requests
share, no retries, and READ COMMITTED shows a transaction all that was committed before its turn. Questions wait for nobody.
"""

import select
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg import IsolationLevel, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import IntLoader

from accounting.leap import Leaps
from accounting.sql.database import Refused, Row
from accounting.sql.schema import migrations
from accounting.sql.store import SqlStore
from accounting.store import StoreError

Connection = psycopg.Connection[Row]

# The turn of a writer: "ledger" in ASCII.
TURN = 0x6C6564676572
CONNECT_TIMEOUT_S = 5
# What the schema forbids, or a column or an index cannot hold: sent again, it would be refused again.
REFUSALS = (psycopg.IntegrityError, psycopg.DataError, errors.ProgramLimitExceeded)
# On by default, and worth nothing when off. The server is asked what it really does.
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")
# A writer that is stuck loses its turn, and one that waits for it gives up; both in milliseconds.
SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "10000",
}


class PostgresStore(SqlStore):
    """`url` is any that libpq takes. The store's clock is the database's, unless a test brings one: `now_ms`. With `steady_ms`,
    one that nobody sets, its leaps are noticed.

    A connection that is lost during COMMIT leaves open whether the transaction has happened: commands are safe to send again.
    """

    def __init__(
        self, url: str, now_ms: Callable[[], int] | None = None, steady_ms: Callable[[], int] | None = None
    ) -> None:
        self._url = url
        self._leaps = Leaps(steady_ms)
        self._now_ms = now_ms
        self._name = _name(url)
        self._writer: Connection | None = None
        self._readers: list[Connection] = []  # those that no thread uses
        try:
            self._migrate()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """See `Store.close`."""
        for connection in (self._writer, *self._readers):
            if connection is not None:
                connection.close()

    def _transaction(self) -> AbstractContextManager["PostgresDatabase"]:
        return self._written()

    @contextmanager
    def _written(self) -> Iterator["PostgresDatabase"]:
        with self._turn() as connection, connection.pipeline() as pipeline:
            yield PostgresDatabase(connection, pipeline, self._now(connection))

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        with _translated(self._name):
            connection = self._connected()
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [TURN])
                yield connection

    @contextmanager
    def _reader(self) -> Iterator["PostgresDatabase"]:
        """A connection that no other thread has at the moment."""
        with _translated(self._name):
            connection = self._idle_reader()
            try:
                with connection.transaction(), connection.pipeline() as pipeline:
                    yield PostgresDatabase(connection, pipeline, self._now(connection))
            except BaseException:
                connection.close()
                raise
            self._readers.append(connection)

    def _idle_reader(self) -> Connection:
        while self._readers:
            with suppress(IndexError):  # another thread took the last one
                if _is_alive(connection := self._readers.pop()):
                    return connection
        connection = _connect(self._url)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection

    def _connected(self) -> Connection:
        """The writer's connection; a new one, if the last was lost."""
        if self._writer is None or not _is_alive(self._writer):
            self._writer = self._durable()
        return self._writer

    def _durable(self) -> Connection:
        """Ask for durability, and read back whether it was granted: a silent no would break every promise."""
        connection = _connect(self._url)
        try:
            connection.isolation_level = IsolationLevel.READ_COMMITTED
            for setting, value in SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: Connection) -> None:
        for setting in DURABILITY:
            if _one(connection, "SELECT current_setting(%s)", setting) != ("on",):
                raise StoreError(
                    f"{self._name}: {setting} is not on; a ledger needs it, so turn it on in postgresql.conf"
                )

    def _migrate(self) -> None:
        """In one transaction; programs that start at once take turns."""
        with self._turn() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
            (version,) = _one(connection, "SELECT coalesce(max(version), 0) FROM schema_version")
            for number, script in migrations("postgres", version, self._name):
                connection.execute(script.encode())
                connection.execute("INSERT INTO schema_version VALUES (%s)", [number])

    def _now(self, connection: Connection) -> int:
        """The time of this turn: not of the transaction's begin, when it may have had to wait."""
        if self._now_ms is not None:
            return self._now_ms()
        (now_ms,) = _one(connection, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        return int(now_ms)


class PostgresReader(PostgresStore):
    """A ledger to be asked only: opening it takes no writer's turn, and changes nothing."""

    def _transaction(self) -> AbstractContextManager["PostgresDatabase"]:
        raise StoreError(f"{self._name}: opened to be read only")

    def _migrate(self) -> None:
        """Nothing: raises `StoreError` if there would be something to do."""
        with self._reader() as db:
            there = db.one("SELECT to_regclass('schema_version') IS NOT NULL")
            row = db.one("SELECT max(version) FROM schema_version") if there == (True,) else None
        if any(migrations("postgres", row[0] if row else 0, self._name)):
            raise StoreError(
                f"{self._name}: of an older vlmfleet, or no ledger; start vlmfleet with it once, or with a copy"
            )


class PostgresDatabase:
    """Implements `accounting.sql.database.Database`. Statements travel in a pipeline, to which each answer is a `sync`."""

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline, now_ms: int) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self.now_ms = now_ms

    def change(self, statement: str, *parameters: object) -> int:
        return self._answered(statement, parameters).rowcount

    def one(self, statement: str, *parameters: object) -> Row | None:
        return self._answered(statement, parameters).fetchone()

    def all(self, statement: str, *parameters: object) -> list[Row]:
        return self._answered(statement, parameters).fetchall()

    def many(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        with self._refusals():
            for row in parameters:
                self._connection.execute(_translate(statement), row)
            self._pipeline.sync()

    def later(self, statement: str, *parameters: object) -> None:
        with self._refusals():
            self._connection.execute(_translate(statement), parameters)

    def _answered(self, statement: str, parameters: tuple[object, ...]) -> psycopg.Cursor[Row]:
        with self._refusals():
            cursor = self._connection.execute(_translate(statement), parameters)
            self._pipeline.sync()
            return cursor

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (*REFUSALS, UnicodeEncodeError) as error:
            self._drain()
            raise Refused(_rule(error)) from error

    def _drain(self) -> None:
        """What is behind a refused statement in the pipeline is refused with it."""
        drained = False
        while not drained:
            with suppress(*REFUSALS, errors.PipelineAborted):
                self._pipeline.sync()
                drained = True


def _connect(url: str) -> Connection:
    connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="vlmfleet")
    # Sums of BIGINT are NUMERIC, and whole.
    connection.adapters.register_loader("numeric", IntLoader)
    return connection


def _is_alive(connection: Connection) -> bool:
    """An idle connection has nothing to say but that it has ended; then it is closed."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if poll.poll(0):
        connection.close()
    return not connection.closed


def _one(connection: Connection, query: str, *parameters: object) -> Row:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row
    return row


@cache
def _translate(statement: str) -> bytes:
    """Our `?` is psycopg's `%s`."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _rule(error: Exception) -> str:
    """Which rule refused a statement: the schema's checks have names."""
    match error:
        case errors.UniqueViolation():
            return "unique"
        case errors.ForeignKeyViolation():
            return "reference"
        case psycopg.IntegrityError():
            return error.diag.constraint_name or str(error)
    return "range"


def _name(url: str) -> str:
    """What messages call the ledger: no password is in it. Raises `StoreError`."""
    try:
        parts: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.Error:
        # Not chained: the cause repeats the URL.
        raise StoreError(
            "the ledger's PostgreSQL URL cannot be read; it looks like postgresql://user:password@host:5432/database"
        ) from None
    return f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """The one place where PostgreSQL's errors become ours."""
    try:
        yield
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise StoreError(f"{name}: PostgreSQL failed: {reason}; check that it runs and lets us write") from error
