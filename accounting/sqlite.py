"""The embedded store: one SQLite file in WAL mode with `synchronous=FULL`, and exactly one writer."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from accounting.leap import Leaps
from accounting.sql.database import Refused, Row
from accounting.sql.schema import VERSION, migrations
from accounting.sql.store import SqlStore
from accounting.store import StoreError

FULL = 2  # PRAGMA synchronous
# What the schema forbids, or a column cannot hold.
REFUSALS = (sqlite3.IntegrityError, OverflowError, UnicodeEncodeError)


class SqliteStore(SqlStore):
    """`now_ms` is the store's clock, in milliseconds UTC. With `steady_ms`, one that nobody sets, its leaps are noticed."""

    def __init__(self, file: Path, now_ms: Callable[[], int], steady_ms: Callable[[], int] | None = None) -> None:
        self._now_ms = now_ms
        self._leaps = Leaps(steady_ms)
        self._file = file
        self._readers: list[sqlite3.Connection] = []  # those that no thread uses
        with _translated(file):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _keep_private(file)
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
        for db in (self._db, *self._readers):
            db.close()
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
        """A connection that no other thread has at the moment: WAL lets it read while another writes."""
        with _translated(self._file):
            db = self._idle_reader()
            db.execute("BEGIN")
            try:
                yield SqliteDatabase(db, self._now_ms())
            finally:
                db.execute("ROLLBACK")
                self._readers.append(db)

    def _idle_reader(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._readers.pop()
        return read_only(self._file)

    def _be_durable(self, file: Path) -> None:
        """Ask for durability, and read back whether it was granted: a silent no would break every promise."""
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        self._db.execute(f"PRAGMA synchronous = {FULL}")
        (synchronous,) = self._db.execute("PRAGMA synchronous").fetchone()
        self._db.execute("PRAGMA foreign_keys = ON")
        # What a refused command has changed is kept for its undoing; a file for that costs more than the rest.
        self._db.execute("PRAGMA temp_store = MEMORY")
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


class SqliteReader(SqlStore):
    """A ledger's file to be asked only, live or a copy: its writer need not stop. For one thread."""

    def __init__(self, file: Path, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._file = file
        with _translated(file):
            file.stat()
            self._db = read_only(file)
        try:
            self._check_version()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """See `Store.close`."""
        self._db.close()

    def _transaction(self) -> AbstractContextManager["SqliteDatabase"]:
        raise StoreError(f"{self._file}: opened to be read only")

    @contextmanager
    def _reader(self) -> Iterator["SqliteDatabase"]:
        with _translated(self._file):
            self._db.execute("BEGIN")
            try:
                yield SqliteDatabase(self._db, self._now_ms())
            finally:
                self._db.execute("ROLLBACK")

    def _check_version(self) -> None:
        with self._reader() as db:
            row = db.one("PRAGMA user_version")
        if any(migrations("sqlite", row[0] if row else 0, str(self._file))):
            raise StoreError(
                f"{self._file}: of an older vlmfleet, or no ledger; start vlmfleet with it once, or with a copy"
            )


class SqliteDatabase:
    """Implements `accounting.sql.database.Database`."""

    def __init__(self, db: sqlite3.Connection, now_ms: int) -> None:
        self._db = db
        self.now_ms = now_ms

    def change(self, statement: str, *parameters: object) -> int:
        return self._execute(statement, parameters).rowcount

    def one(self, statement: str, *parameters: object) -> Row | None:
        row: Row | None = self._execute(statement, parameters).fetchone()
        return row

    def all(self, statement: str, *parameters: object) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    def many(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        try:
            self._db.executemany(statement, parameters)
        except REFUSALS as error:
            raise _refused(error) from error

    def later(self, statement: str, *parameters: object) -> None:
        self._execute(statement, parameters)

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, parameters)
        except REFUSALS as error:
            raise _refused(error) from error


def read_only(file: Path) -> sqlite3.Connection:
    """A connection that can only read; the writer need not stop for it."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _refused(error: Exception) -> Refused:
    """Which rule refused a statement: the schema's checks have names."""
    if not isinstance(error, sqlite3.IntegrityError):
        return Refused("range")
    kind, _, name = str(error).partition(" constraint failed: ")
    match kind:
        case "CHECK":
            return Refused(name)
        case "UNIQUE":
            return Refused("unique")
        case "FOREIGN KEY constraint failed":
            return Refused("reference")
    return Refused(str(error))


def _only_writer(file: Path) -> IO[str]:
    """Lock the ledger for this process. Raises `StoreError` if another process has it."""
    lock = _lock_of(file).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{file}: another process writes this ledger; a SQLite ledger has one writer") from error
    return lock


def _keep_private(file: Path) -> None:
    """It holds answers, and whose they are. SQLite gives the files beside it its own mode; an earlier version did not."""
    for each in (file, _lock_of(file)):
        if not each.exists():
            each.touch(0o600)
    for each in (file, _lock_of(file), file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        if each.exists() and each.stat().st_mode & 0o077 and each.stat().st_uid == os.geteuid():
            each.chmod(0o600)


def _lock_of(file: Path) -> Path:
    return file.with_name(file.name + ".lock")


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    """The one place where SQLite's errors become ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{file}: the ledger's SQLite file failed: {error}; check its disk") from error
    except OSError as error:
        raise StoreError(f"{file}: the ledger's SQLite file failed: {error.strerror}; check its disk") from error
