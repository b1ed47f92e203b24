"""What lies on a disk and only its owner may read: keys, the ledger, what users sent, logs."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> None:
    """Make it, and what is above it, if it is not there. One that is, is tightened."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(FOLDER_MODE, exist_ok=True)
    tighten([folder])


def opener(path: str, flags: int) -> int:
    """For `open`: a file that is made is its owner's, whatever the umask."""
    return os.open(path, flags, FILE_MODE)


def tighten(paths: Iterable[Path]) -> None:
    """Take from the group and all others what an earlier version, or a umask, gave them.

    Not from what belongs to another user, nor from a folder like `/tmp`, which all share.
    """
    for path in paths:
        status = path.lstat()
        shared = stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX
        if not shared and status.st_mode & OTHERS:
            path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
