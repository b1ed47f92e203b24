"""What a machine lacks: a test that wants it is skipped, and the last line of a run counts those tests by what they lack."""

import shutil
from collections import Counter
from typing import Any

import pytest


def needs_program(name: str, package: str) -> None:
    """Skip the test where this program is not on the path; `package` is Debian's."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt-get install {package})")


def summary(skipped: list[Any]) -> str:
    """One line about a run's skipped tests, empty if there is none."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    lacking = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    return f"Not run on this machine (tests): {lacking}" if lacking else ""
