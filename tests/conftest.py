"""For every test: no example of a property is judged by the clock. For those that ask: a PostgreSQL server. At the end: what
was not run, and why.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.missing import summary
from tests.postgres import running_server

settings.register_profile("calm", deadline=None)
settings.load_profile("calm")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """A running server; a call makes an empty database, and returns its URL."""
    with running_server() as make:
        yield make


@pytest.fixture
def postgres_url(postgres: Callable[[], str]) -> str:
    """An empty database of this test's own."""
    return postgres()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    if line := summary(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)
