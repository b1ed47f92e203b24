"""The embedded store: one SQLite file in WAL mode with `synchronous=FULL`, and exactly one writer."""

import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from accounting.sql.database import Refused, Row
from accounting.sql.schema import VERSION, migrations
from accounting.sql.store import SqlStore
from accounting.store import StoreError

FULL = 2  # PRAGMA synchronous


class SqliteStore(SqlStore):
    """`now_ms` is the store's clock, in milliseconds UTC."""

    def __init__(self, file: Path, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._file = file
        with _translated(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _only_writer(file)
        # The writer calls from a pool thread, one call at a time.
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            with _translated(file):
                self._be_durable(file)
                self._migrate(file)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """See `Store.close`."""
        self._db.close()
        self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator["SqliteDatabase"]:
        with _translated(self._file):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteDatabase(self._db, self._now_ms())
                self._db.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (full disk) may have rolled back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reader(self) -> Iterator["SqliteDatabase"]:
        """A connection of its own, for any thread: WAL lets it read while another writes."""
        with _translated(self._file), closing(read_only(self._file)) as db:
            db.execute("BEGIN")
            yield SqliteDatabase(db, self._now_ms())

    def _be_durable(self, file: Path) -> None:
        """Ask for durability, and read back whether it was granted: a silent no would break every promise."""
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        self._db.execute(f"PRAGMA synchronous = {FULL}")
        (synchronous,) = self._db.execute("PRAGMA synchronous").fetchone()
        self._db.execute("PRAGMA foreign_keys = ON")
        # Else INSERT OR REPLACE would pass by the triggers that forbid to delete.
        self._db.execute("PRAGMA recursive_triggers = ON")
        if (mode, synchronous) != ("wal", FULL):
            raise StoreError(f"{file}: WAL with synchronous=FULL was not honoured; put the ledger on a local disk")

    def _migrate(self, file: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        for number, script in migrations("sqlite", version, str(file)):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
        # Written in any case: a file that cannot be is found now, not by the first payment.
        self._db.execute(f"PRAGMA user_version = {VERSION}")


class SqliteDatabase:
    """Implements `accounting.sql.database.Database`."""

    def __init__(self, db: sqlite3.Connection, now_ms: int) -> None:
        self._db = db
        self.now_ms = now_ms

    def change(self, statement: str, *parameters: object) -> int:
        with _refusals():
            return self._db.execute(statement, parameters).rowcount

    def one(self, statement: str, *parameters: object) -> Row | None:
        with _refusals():
            row: Row | None = self._db.execute(statement, parameters).fetchone()
            return row

    def all(self, statement: str, *parameters: object) -> list[Row]:
        with _refusals():
            return self._db.execute(statement, parameters).fetchall()

    def many(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        with _refusals():
            self._db.executemany(statement, parameters)


def read_only(file: Path) -> sqlite3.Connection:
    """A connection that can only read; the writer need not stop for it."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        raise Refused("range") from error
    except sqlite3.IntegrityError as error:
        raise Refused(_rule(str(error))) from error


def _rule(message: str) -> str:
    """Which rule refused a statement: the schema's checks have names."""
    kind, _, name = message.partition(" constraint failed: ")
    match kind:
        case "CHECK":
            return name
        case "UNIQUE":
            return "unique"
        case "FOREIGN KEY constraint failed":
            return "reference"
    return message


def _only_writer(file: Path) -> IO[str]:
    """Lock the ledger for this process. Raises `StoreError` if another process has it."""
    lock = file.with_name(file.name + ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{file}: another process writes this ledger; a SQLite ledger has one writer") from error
    return lock


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    """The one place where SQLite's errors become ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{file}: the ledger's SQLite file failed: {error}; check its disk") from error
    except OSError as error:
        raise StoreError(f"{file}: the ledger's SQLite file failed: {error.strerror}; check its disk") from error
