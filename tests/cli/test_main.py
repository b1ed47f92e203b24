import subprocess
import sys
from pathlib import Path

import pytest

from deployments import launch
from tests.cli.conftest import Fleet, Vlmfleet


def test_a_server_that_is_not_there_is_told_in_one_line(vlmfleet: Vlmfleet):
    """With how to start one."""
    ended = vlmfleet("keys", "list", "--url", "http://127.0.0.1:1", "--key", "sk-vlm-x")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "vlmfleet: nothing answers at http://127.0.0.1:1; start vlmfleet with: make up; or name another with --url\n"
    )


def test_a_key_that_does_not_work_is_told_in_one_line(fleet: Fleet, vlmfleet: Vlmfleet):
    """With where one comes from."""
    ended = vlmfleet("keys", "list", "--key", "sk-vlm-x")
    assert (ended.status, "--key or VLMFLEET_ADMIN_KEY" in ended.err) == (1, True)


def test_a_plain_key_is_refused_by_the_server(fleet: Fleet, vlmfleet: Vlmfleet):
    """It does not manage."""
    ended = vlmfleet("keys", "list", "--key", fleet.house.key)
    assert (ended.status, "scope 'manage'" in ended.err) == (1, True)


def test_the_key_s_default_is_this_checkout_s(
    fleet: Fleet, vlmfleet: Vlmfleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And without its file the way out is told."""
    monkeypatch.delenv("VLMFLEET_ADMIN_KEY")
    assert f"there is no key in {tmp_path / 'admin-key'}" in vlmfleet("keys", "list").err
    (tmp_path / "admin-key").write_text(fleet.house.admin_key + "\n")
    assert vlmfleet("keys", "list").status == 0


def test_the_url_s_default_is_this_machine_s(vlmfleet: Vlmfleet, monkeypatch: pytest.MonkeyPatch):
    """By its port."""
    monkeypatch.setenv("VLMFLEET_PORT", "1")
    assert "http://127.0.0.1:1;" in vlmfleet("keys", "list", "--key", "k").err


def test_a_server_of_another_kind_is_told_as_such(fleet: Fleet, vlmfleet: Vlmfleet):
    """Its answers are no errors of ours."""
    ended = vlmfleet("keys", "list", "--url", fleet.house.engine.url)
    assert (ended.status, "status 404" in ended.err) == (1, True)


@pytest.mark.parametrize(("verb", "status"), [("run", 3), ("up", 0), ("down", 0)])
def test_the_fleet_is_started_and_stopped(vlmfleet: Vlmfleet, monkeypatch: pytest.MonkeyPatch, verb: str, status: int):
    """By what `python -m deployments.launch` does; the exit status is the cluster's."""
    monkeypatch.setattr(launch, verb, lambda: status or None)
    assert vlmfleet(verb).status == status


def test_what_stops_a_start_is_told_in_one_line(vlmfleet: Vlmfleet, monkeypatch: pytest.MonkeyPatch):
    """As all other failures."""

    def taken() -> None:
        raise launch.LaunchError("the port is taken")

    monkeypatch.setattr(launch, "up", taken)
    ended = vlmfleet("up")
    assert (ended.status, ended.err) == (1, "vlmfleet: the port is taken\n")


@pytest.mark.parametrize("words", [["start"], ["keys", "make"], ["run", "now"], ["keys", "list", "--colour"]])
def test_what_there_is_not_is_refused(vlmfleet: Vlmfleet, words: list[str]):
    """With status 2, as by any command."""
    assert vlmfleet(*words).status == 2


def test_it_is_a_module_as_well():
    """`python -m cli`."""
    helped = subprocess.run([sys.executable, "-m", "cli", "--help"], capture_output=True, text=True, check=True)
    for group in ("keys", "budgets", "credit", "usage", "cost", "export", "ledger", "run", "up", "down"):
        assert group in helped.stdout
