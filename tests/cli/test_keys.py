import pytest

from tests.cli.conftest import Fleet, Vlmfleet


def test_a_key_is_made_and_shown_once(fleet: Fleet, vlmfleet: Vlmfleet):
    """On a line of its own, to be copied."""
    made = vlmfleet("keys", "create", "laptop", "--scope", "inference", "--images-per-minute", "5")
    secret = made.out.splitlines()[-1]
    assert secret.startswith("sk-vlm-")
    listed = vlmfleet("keys", "list")
    assert "laptop" in listed.out
    assert "images_per_minute 5" in listed.out
    assert secret not in listed.out


def test_every_option_of_a_new_key_is_passed_on(fleet: Fleet, vlmfleet: Vlmfleet):
    """Times are UTC."""
    options = [
        "--org",
        "acme",
        "--project",
        "web",
        "--scope",
        "inference",
        "--scope",
        "usage:read",
        "--model",
        "demo",
        "--concurrency",
        "2",
    ]
    made = vlmfleet(
        *("keys", "create", "x", *options, "--expires", "2030-01-01", "--credit", "0.25", "--ref", "r", "--json")
    ).json
    assert (made["org"], made["project"], made["scopes"]) == ("acme", "web", ["inference", "usage:read"])
    assert (made["models"], made["limits"], made["expires_at"]) == (
        ["demo-qwen2-vl"],
        {"concurrency": 2},
        1_893_456_000,
    )
    balances = vlmfleet("credit", "balances", "--json").json["data"]
    assert {"credit:acme": "-0.25"}.items() <= {one["account"]: one["posted_usd"] for one in balances}.items()
    again = vlmfleet("keys", "create", "x", "--ref", "r")
    assert (again.status, again.out) == (1, "")


def test_a_key_made_with_nothing_has_the_defaults(fleet: Fleet, vlmfleet: Vlmfleet):
    """What is not given is not sent."""
    made = vlmfleet("keys", "create", "x", "--json").json
    assert (made["org"], made["scopes"], made["models"], made["limits"]) == ("org", ["inference", "usage:read"], [], {})


def test_a_key_is_changed_by_what_is_given(fleet: Fleet, vlmfleet: Vlmfleet):
    """Bounds are taken away by name."""
    options = ["--model", "demo", "--concurrency", "2", "--images-per-minute", "5", "--expires", "2030-01-01"]
    key_id = vlmfleet("keys", "create", "x", *options, "--json").json["id"]
    changed = vlmfleet("keys", "change", key_id, "--name", "y", "--concurrency", "3", "--json").json
    assert (changed["name"], changed["limits"]) == ("y", {"images_per_minute": 5, "concurrency": 3})
    bounds = ["--without", "images-per-minute", "--without", "models", "--without", "expires_at"]
    changed = vlmfleet("keys", "change", key_id, *bounds, "--json").json
    assert (changed["limits"], changed["models"], changed["expires_at"]) == ({"concurrency": 3}, [], None)
    refused = vlmfleet("keys", "change", key_id, "--without", "colour")
    assert (refused.status, "limits.colour" in refused.err) == (1, True)


def test_a_key_is_rotated_and_revoked(fleet: Fleet, vlmfleet: Vlmfleet):
    """The successor is shown once as well."""
    old = fleet.house.record.id
    rotated = vlmfleet("keys", "rotate", old, "--grace-seconds", "0")
    assert rotated.out.splitlines()[-1].startswith("sk-vlm-")
    assert "expired" in vlmfleet("keys", "show", old).out
    assert vlmfleet("keys", "revoke", old, "--json").json["state"] == "revoked"


@pytest.mark.parametrize("name", ["[bold]x[/]", "a [red] b"])
def test_a_name_is_no_markup(fleet: Fleet, vlmfleet: Vlmfleet, name: str):
    """It is shown as it is."""
    vlmfleet("keys", "create", name)
    assert name in vlmfleet("keys", "list").out
