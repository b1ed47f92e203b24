"""For every test: no example of a property is judged by the clock. For those that ask: a PostgreSQL server."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

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
