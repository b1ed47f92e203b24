from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.money import NANO_USD, USD_MAX, NotAnAmount, parse_usd, usd


@pytest.mark.parametrize(
    ("amount_nano", "printed"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (1_341_000, "0.001341"),
        (-1_341_000, "-0.001341"),
        (NANO_USD, "1"),
        (-NANO_USD, "-1"),
        (1_500_000_000, "1.5"),
        (-10_000_000_001, "-10.000000001"),
        (2**63 - 1, "9223372036.854775807"),
    ],
)
def test_usd(amount_nano: int, printed: str):
    """Dollars are printed from the integer, without an exponent or trailing zeros."""
    assert usd(amount_nano) == printed


@given(st.integers(-(2**63), 2**63 - 1))
def test_usd_is_exact(amount_nano: int):
    """What is printed is the amount, to the nano-dollar."""
    assert Decimal(usd(amount_nano)) * NANO_USD == amount_nano


@given(st.integers(0, USD_MAX * NANO_USD))
def test_what_is_printed_is_read_back(amount_nano: int):
    """Nothing is rounded on the way."""
    assert parse_usd(usd(amount_nano)) == amount_nano


@pytest.mark.parametrize(
    ("text", "amount_nano"),
    [
        ("0", 0),
        ("1.50", 1_500_000_000),
        ("0.000000001", 1),
        ("0001", 1_000_000_000),
        ("1000000000", 10**18),
    ],
)
def test_decimal_strings_are_read(text: str, amount_nano: int):
    """Zeros around an amount change nothing."""
    assert parse_usd(text) == amount_nano


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (1.5, "not a number"),
        (1, "not a number"),
        (None, "not a number"),
        ("", "decimal string"),
        ("1,50", "decimal string"),
        ("$1", "decimal string"),
        ("1e3", "decimal string"),
        (".5", "decimal string"),
        ("1.", "decimal string"),
        (" 1", "decimal string"),
        ("\u0661", "decimal string"),  # a digit of another script
        ("NaN", "decimal string"),
        ("9" * 1000, "decimal string"),
        ("-1", "not negative"),
        ("-0.5", "not negative"),
        ("0.0000000001", "9 decimals"),
        ("1.0000000000", "9 decimals"),
        ("1000000000.000000001", "at most 1000000000 dollars"),
    ],
)
def test_anything_else_is_refused_by_reason(text: object, why: str):
    """The message says what an amount looks like."""
    with pytest.raises(NotAnAmount, match=why):
        parse_usd(text)


def test_a_refusal_does_not_repeat_what_was_sent():
    """It may have been a secret in the wrong place."""
    with pytest.raises(NotAnAmount) as refused:
        parse_usd("sk-vlm-secret")
    assert "secret" not in str(refused.value)
