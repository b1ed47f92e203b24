from contextlib import closing
from pathlib import Path

from accounting.money import usd
from accounting.stores import open_reader
from tests.cli.conftest import Fleet, Vlmfleet
from tests.gateway.house import question

DAY = ("--from", "1970-01-01", "--to", "1970-01-01")


def posted(file: Path) -> dict[str, int]:
    with closing(open_reader(file, lambda: 0)) as store:
        return {account.account: account.posted_nano for account in store.balances()}


def test_a_ledger_is_exported_beside_its_writer_and_read_back(fleet: Fleet, vlmfleet: Vlmfleet, tmp_path: Path):
    """The copy has the same balances; a repeat changes nothing."""
    cost_nano = fleet.house.charged_nano(fleet.do(fleet.house.ask(question())))
    assert cost_nano
    target, copy = str(tmp_path / "export"), tmp_path / "copy.db"
    (day,) = vlmfleet("export", target, *DAY, "--json").json["days"]
    assert (day["day"], day["charged_usd"]) == ("1970-01-01", usd(cost_nano))
    again = vlmfleet("export", target, *DAY)
    assert (again.status, usd(cost_nano) in again.out) == (0, True)
    assert vlmfleet("ledger", "import", target, str(copy)).status == 0
    assert posted(copy) == posted(fleet.house.file)


def test_a_day_that_is_not_over_is_told_in_one_line(fleet: Fleet, vlmfleet: Vlmfleet, tmp_path: Path):
    """By its name."""
    ended = vlmfleet("export", str(tmp_path / "export"), "--from", "2999-01-01", "--to", "2999-01-01")
    assert (ended.status, ended.err.count("\n"), "2999-01-01 is not over" in ended.err) == (1, 1, True)


def test_an_export_that_is_none_is_told_in_one_line(vlmfleet: Vlmfleet, tmp_path: Path):
    """Nothing is read from it."""
    ended = vlmfleet("ledger", "import", str(tmp_path / "nowhere"), str(tmp_path / "copy.db"))
    assert (ended.status, ended.err.count("\n"), "no manifest" in ended.err) == (1, 1, True)
