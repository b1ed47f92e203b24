"""Dollars at the edges: decimal strings, read and printed exactly. Inside, money is integers of nano-dollars."""

import re

NANO_USD = 1_000_000_000
# More than any ledger needs, and far from the end of a 64-bit integer.
USD_MAX = 1_000_000_000
DECIMALS = 9

_DECIMAL = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?")


class NotAnAmount(ValueError):
    """The message says what an amount looks like, and not what was sent."""


def parse_usd(text: object) -> int:
    """The nano-dollars of a decimal string: "0.001341" -> 1341000. Raises `NotAnAmount`."""
    if not isinstance(text, str):
        raise NotAnAmount('an amount is a decimal string of dollars, such as "1.50", not a number')
    parts = _DECIMAL.fullmatch(text)
    if parts is None:
        raise NotAnAmount('an amount is a decimal string of dollars, such as "1.50"')
    sign, whole, decimals = parts[1], parts[2], parts[3] or ""
    if sign:
        raise NotAnAmount("an amount is not negative")
    if len(decimals) > DECIMALS:
        raise NotAnAmount(f"an amount has at most {DECIMALS} decimals: the smallest is a nano-dollar")
    amount_nano = int(whole) * NANO_USD + int(decimals.ljust(DECIMALS, "0"))
    if amount_nano > USD_MAX * NANO_USD:
        raise NotAnAmount(f"an amount is at most {USD_MAX} dollars")
    return amount_nano


def usd(amount_nano: int) -> str:
    """A decimal string in dollars, printed from the integer: 1341000 -> "0.001341"."""
    sign, amount = ("-", -amount_nano) if amount_nano < 0 else ("", amount_nano)
    whole, rest = divmod(amount, NANO_USD)
    decimals = f"{rest:0{DECIMALS}}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
