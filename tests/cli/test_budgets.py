import sqlite3
from contextlib import closing

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


def test_a_budget_of_a_project_that_nobody_has_is_a_slip(fleet: Fleet, vlmfleet: Vlmfleet):
    """Unless it is meant."""
    words = ("budgets", "set", "project:org/scans", "month", "10")
    assert "--create" in vlmfleet(*words).err
    assert vlmfleet(*words, "--create").status == 0


def test_a_budget_of_before_projects_had_an_organisation_asks_whose_it_is(fleet: Fleet, vlmfleet: Vlmfleet):
    """Which an upgrade could not know; the answer is two commands."""
    with closing(sqlite3.connect(fleet.house.file)) as db, db:
        db.execute("INSERT INTO budget (scope, period, limit_nano) VALUES ('project:scans', 'month', 10000000000)")
    told = vlmfleet("budgets", "list").err
    assert "budgets set project:<organisation>/... month 10;" in told
    assert "budgets drop project:scans month" in told
    assert vlmfleet("budgets", "set", "project:scans", "month", "11").status == 1
    assert vlmfleet("budgets", "drop", "project:scans", "month").status == 0
    assert vlmfleet("budgets", "list").err == ""
