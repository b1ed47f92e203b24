"""Helper processes of these tests end with them, also when a test or a fixture fails."""

import socket
from pathlib import Path

import pytest

from tests.e2e.rendered import redis
from tests.missing import needs_program


class Failed(Exception):
    pass


def test_redis_ends_with_a_test_that_fails(tmp_path: Path):
    needs_program("redis-server", "redis-server")
    with pytest.raises(Failed), redis(str(tmp_path)) as address:
        raise Failed
    host, port = address.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
