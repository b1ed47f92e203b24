"""What was charged for requests and given back."""

import pytest

from accounting.sqlite import SqliteStore
from exports.charge import Charge, charges_of
from exports.errors import UnknownRequest
from tests.exports.books import POST, PRICE, THURSDAY, TUESDAY, Books, start_ms


def charges(books: Books) -> list[Charge]:
    return charges_of(books.store, books.entries())


def test_a_charge_knows_its_request(books: Books):
    """One charge a request, at the time of its booking; grants are none."""
    first, *others = charges(books)
    assert (first.kind, first.ref, first.amount_nano) == ("charge", "r1", POST.charged_nano)
    assert (first.request["project_id"], first.request["vision_tokens"]) == ("scans", 2_392)
    assert [(charge.ref, charge.at_ms) for charge in others] == [
        ("r2", start_ms(TUESDAY) + 12 * 3_600_000),
        ("r3", start_ms(TUESDAY) + 13 * 3_600_000),
    ]


def test_a_refund_knows_the_request_that_it_gives_back(books: Books):
    """Days later, and even if its ref is the id of a request."""
    books.charge("r4")
    books.refund("r4", "r1", PRICE.unit_nano)
    *_, charge, refund = charges(books)
    assert (charge.kind, charge.request["request_id"]) == ("charge", "r4")
    assert (refund.kind, refund.ref, refund.request["request_id"]) == ("refund", "r4", "r1")
    assert (refund.amount_nano, refund.at_ms) == (-PRICE.unit_nano, start_ms(THURSDAY) + 12 * 3_600_000)


def test_what_was_free_is_no_charge(books: Books):
    """A request that was charged nothing has no line in the ledger."""
    books.charge("free", 0)
    assert [charge.ref for charge in charges(books)] == ["r1", "r2", "r3"]


def test_a_ledger_without_the_request_is_refused(books: Books, empty: SqliteStore):
    """An imported ledger has the lines, but cannot say what was used."""
    with pytest.raises(UnknownRequest, match="copy the export"):
        charges_of(empty, books.entries())
