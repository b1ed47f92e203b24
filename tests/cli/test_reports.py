import pytest

from accounting.money import usd
from tests.cli.conftest import Fleet, Vlmfleet
from tests.gateway.house import CARD, question

MINUTE_MS = 60_000


def test_usage_is_shown_page_by_page(fleet: Fleet, vlmfleet: Vlmfleet):
    """61 minutes are more than a page."""
    first = fleet.house.charged_nano(fleet.do(fleet.house.ask(question(user="ann"))))
    fleet.house.clock.ms += 61 * MINUTE_MS
    fleet.do(fleet.house.ask(question(user="bob")))
    words = ("usage", "--from", "1970-01-01T00:16:00", "--by", "model,user", "--width", "1m")
    shown = vlmfleet(*words)
    assert "1970-01-01 00:16:00" in shown.out
    assert "1970-01-01 01:17:00" in shown.out
    assert first
    for cell in (CARD.served_name, "ann", "bob", usd(first)):
        assert cell in shown.out
    buckets = vlmfleet(*words, "--json").json["data"]
    assert len(buckets) == 62
    assert [len(bucket["results"]) for bucket in buckets].count(1) == 2


def test_usage_is_shown_by_what_there_is(vlmfleet: Vlmfleet):
    """Before anything is asked."""
    refused = vlmfleet("usage", "--by", "model,colour")
    assert (refused.status, refused.err) == (
        1,
        "vlmfleet: usage cannot be shown by 'colour'; there are: model, key, project, user, tier, org\n",
    )


def test_a_day_s_cost_has_a_total(fleet: Fleet, vlmfleet: Vlmfleet):
    """Of every model together."""
    assert "total" in vlmfleet("cost", "--day", "1970-01-01").out
    assert vlmfleet("cost", "--day", "1970-01-01", "--json").json["total"]["rent_usd"] == "0"


@pytest.mark.parametrize(("day", "status"), [("1970-01-02", 1), ("tomorrow", 2)])
def test_a_day_that_is_none_is_refused(fleet: Fleet, vlmfleet: Vlmfleet, day: str, status: int):
    """One that has not begun by the server, anything else at once."""
    assert vlmfleet("cost", "--day", day).status == status


def test_changes_are_shown_with_who_made_them(fleet: Fleet, vlmfleet: Vlmfleet):
    """The newest first."""
    vlmfleet("budgets", "set", "org:org", "day", "1")
    newest = vlmfleet("audit", "--json").json["data"][0]
    assert newest["action"] == "set_budget"
    assert newest["by"] in vlmfleet("audit").out
