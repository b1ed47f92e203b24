"""How many values a JSON text has, counted before they are made: two bytes of it (`[]`) become a hundred, one after the other,
and nothing else runs meanwhile.
"""

# The longest text of any card could be commas alone, and has a third as many.
JSON_VALUES_MAX = 100_000


def has_too_many_values(text: bytes) -> bool:
    """By its opening brackets and commas, which are about as many."""
    return sum(map(text.count, (b"{", b"[", b","))) > JSON_VALUES_MAX
