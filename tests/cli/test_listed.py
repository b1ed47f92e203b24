"""Commands are imported when they are asked for."""

import subprocess
import sys

import pytest

from cli.listed import Listed
from cli.main import COMMANDS, K8S, LEDGER, app
from tests.cli.conftest import Vlmfleet

HEAVY = {
    "ray",
    "aiohttp",
    "boto3",
    "fastapi",
    "httpx",
    "numpy",
    "numba",
    "PIL",
    "psycopg",
    "pyarrow",
    "scipy",
}
HELP = """
import sys
from cli.main import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
LISTED = [each for group in (app, LEDGER, K8S) for each in group.commands.values() if isinstance(each, Listed)]


@pytest.mark.parametrize("words", [["--help"], ["ledger", "--help"], ["k8s", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]):
    """It is what people ask for first."""
    done = subprocess.run([sys.executable, "-c", HELP, *words], capture_output=True, text=True, check=True)
    assert "Usage: vlmfleet" in done.stdout
    assert HEAVY.isdisjoint(done.stderr.split())


def test_help_has_a_line_for_each_command(vlmfleet: Vlmfleet, monkeypatch: pytest.MonkeyPatch):
    """At 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    out = vlmfleet("--help").out
    assert all(f" {each.name} " in out and f" {each.help} " in out for each in COMMANDS)


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: listed.place)
def test_every_command_is_where_it_is_said_to_be(listed: Listed):
    """With help of its own."""
    assert listed.command().help


@pytest.mark.parametrize("words", [["keys", "list"], ["ledger", "torture"], ["usage"]])
def test_a_command_says_its_whole_name(vlmfleet: Vlmfleet, words: list[str]):
    """In its own help, as if it had not been imported late."""
    assert f"{' '.join(['vlmfleet', *words])} " in " ".join(vlmfleet(*words, "--help").out.split())
