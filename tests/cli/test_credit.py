from accounting.money import usd
from tests.cli.conftest import Fleet, Vlmfleet
from tests.gateway.house import question


def test_credit_is_given_once_a_ref(fleet: Fleet, vlmfleet: Vlmfleet):
    """The repeat says so."""
    words = ("credit", "grant", "acme", "2.50", "--ref", "invoice-7", "--reason", "paid", "--create", "--json")
    assert [vlmfleet(*words).json["result"] for _ in range(2)] == ["created", "exists"]
    assert "credit:acme" in vlmfleet("credit", "balances").out


def test_a_charge_is_given_back(fleet: Fleet, vlmfleet: Vlmfleet):
    """By the id of the answer's header."""
    answer = fleet.do(fleet.house.ask(question()))
    cost_nano = fleet.house.charged_nano(answer)
    assert cost_nano
    request_id = answer.headers["x-vlm-request-id"]
    given = vlmfleet("credit", "refund", request_id, usd(cost_nano), "--ref", "r", "--reason", "blurred")
    assert (given.status, usd(cost_nano) in given.out) == (0, True)
    more = vlmfleet("credit", "refund", request_id, "0.000000001", "--ref", "s", "--reason", "blurred")
    assert (more.status, "at most its charge" in more.err) == (1, True)


def test_a_ref_and_a_reason_are_asked_for(vlmfleet: Vlmfleet):
    """Without them nothing is sent."""
    assert vlmfleet("credit", "grant", "acme", "1").status == 2
