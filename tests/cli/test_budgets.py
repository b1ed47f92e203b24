from tests.cli.conftest import Fleet, Vlmfleet


def test_a_budget_is_set_listed_and_dropped(fleet: Fleet, vlmfleet: Vlmfleet):
    """Amounts are dollars, exactly."""
    made = vlmfleet("budgets", "set", "org:org", "month", "10.000000001", "--alert", "8", "--json").json
    assert (made["limit_usd"], made["alert_usd"]) == ("10.000000001", "8")
    listed = vlmfleet("budgets", "list").out
    assert "org:org" in listed
    assert "10.000000001" in listed
    assert vlmfleet("budgets", "drop", "org:org", "month").status == 0
    assert vlmfleet("budgets", "list", "--json").json["data"] == []


def test_a_budget_that_cannot_be_is_told_by_the_server(fleet: Fleet, vlmfleet: Vlmfleet):
    """Its message, in one line."""
    refused = vlmfleet("budgets", "set", "org:org", "month", "0.0000000001")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.count("\n") == 1
    assert "at most 9 decimals" in refused.err
