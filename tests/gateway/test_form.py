from typing import Annotated, Any

import orjson
import pytest
from pydantic import BeforeValidator, Field

from deployments.gateway.errors import BadRequest
from deployments.gateway.form import QUERY_FIELDS_MAX, Currency, Dollars, Form, as_list, read_body, read_query

SECRET = "correct-horse-battery-staple"


class Paid(Form):
    amount_nano: Annotated[Dollars, Field(alias="amount_usd")]
    currency: Currency = "usd"


class Asked(Form):
    start: int
    models: Annotated[tuple[str, ...], BeforeValidator(as_list)] = ()


def test_an_amount_is_dollars_outside_and_nano_dollars_inside():
    """Exactly."""
    assert read_body(Paid, b'{"amount_usd": "0.000000001"}').amount_nano == 1


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        ({}, "amount_usd", "missing"),
        ({"amount_usd": 1}, "amount_usd", "not a number"),
        ({"amount_usd": SECRET}, "amount_usd", 'such as "1.50"'),
        ({"amount_usd": "0"}, "amount_usd", "greater than 0"),
        ({"amount_usd": "-1"}, "amount_usd", "not negative"),
        ({"amount_usd": "1", "currency": SECRET}, "currency", "'usd'"),
        ({"amount_usd": "1", "amount": SECRET}, "amount", "no field 'amount'"),
    ],
)
def test_a_body_is_refused_by_field(sent: dict[str, Any], param: str, says: str):
    """Without repeating what was sent."""
    with pytest.raises(BadRequest) as refused:
        read_body(Paid, orjson.dumps(sent))
    assert refused.value.param == param
    assert says in refused.value.message
    assert SECRET not in refused.value.message


@pytest.mark.parametrize(
    ("query", "models"),
    [
        (b"start=1", ()),
        (b"start=1&models=a", ("a",)),
        (b"start=1&models[]=a", ("a",)),
        (b"start=1&models%5B%5D=a&models%5B%5D=b", ("a", "b")),
        (b"start=1&models=a&models=b", ("a", "b")),
        (b"start=1&models=a%2Cb+c", ("a,b c",)),
    ],
)
def test_a_query_has_lists_in_every_client_s_spelling(query: bytes, models: tuple[str, ...]):
    """OpenAI's SDK sends `name[]`, others repeat `name`."""
    assert read_query(Asked, query).models == models


@pytest.mark.parametrize(
    ("query", "param"),
    [
        (b"", "start"),
        (b"start=", "start"),
        (b"start=noon", "start"),
        (b"start=1&start=2", "start"),
        (b"start=1&stop=2", "stop"),
        (b"start=1&group_by[]=a", "group_by"),
    ],
)
def test_a_query_is_refused_by_field(query: bytes, param: str):
    """What is unknown, missing, malformed, or there twice."""
    with pytest.raises(BadRequest) as refused:
        read_query(Asked, query)
    assert refused.value.param == param


def test_a_query_is_bounded():
    """More would only be work."""
    with pytest.raises(BadRequest, match=str(QUERY_FIELDS_MAX)):
        read_query(Asked, b"&".join([b"models=a"] * (QUERY_FIELDS_MAX + 1)))


def test_a_nul_in_a_query_is_refused():
    """A store takes none, and would be said to be away."""
    with pytest.raises(BadRequest, match="NUL") as refused:
        read_query(Asked, b"start=1&models=a%00b")
    assert refused.value.param == "models"
