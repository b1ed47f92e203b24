"""Pages of lists."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.page import Order, ids_after, page


async def objects(ids: list[str]) -> AsyncIterator[dict[str, str]]:
    for one in ids:
        yield {"id": one}


@given(st.sets(st.integers(100, 999).map(str), max_size=30), st.integers(1, 7), st.sampled_from(["asc", "desc"]))
async def test_pages_together_are_the_list(ids: set[str], limit: int, order: Order):
    """Each begins after the last one of the page before."""
    seen: list[str] = []
    more, after = True, None
    while more:
        turned = await page(objects(ids_after(list(ids), after, order)), limit)
        more, after = turned["has_more"], turned["last_id"]
        seen += [one["id"] for one in turned["data"]]
    assert seen == sorted(ids, reverse=order == "desc")


@pytest.mark.parametrize(("order", "left"), [("asc", ["3"]), ("desc", ["1"])])
def test_one_that_is_gone_still_marks_its_place(order: Order, left: list[str]):
    """It may have been deleted between two pages."""
    assert ids_after(["1", "3"], "2", order) == left


async def test_an_empty_page_has_no_ends():
    """As OpenAI has it."""
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert await page(objects([]), 5) == empty
