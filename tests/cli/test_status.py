"""`vlmfleet status`, where nothing runs; `tests/e2e/test_doors.py` has a running fleet."""

from tests.cli.conftest import Vlmfleet


def test_where_nothing_runs_that_is_said(vlmfleet: Vlmfleet):
    """In one line, and with what to do."""
    ran = vlmfleet("status")
    assert ran.status == 1
    assert "start it with: make up" in ran.err
