"""A regular expression of a JSON schema, weighed before an engine makes an automaton of it. Pure.

Engines write repetitions out: `(a{1,1000}){1,1000}` is a million states. Python's parser says whether it is one at all; the
dialects differ in little, and what an engine does not take (lookaround) it refuses itself.
"""

import re
from re import _parser  # type: ignore[attr-defined]  # the compiler goes through all letters of `[\u0100-\uffff]`

# In JavaScript's dialect, not in Python's.
NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z_])")
UNICODE_CLASS = re.compile(r"\\[pP](\{[A-Za-z_=]{1,40}\}|[A-Z])")
# One of these at a time; a bracket expression counts as one character.
TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<begin>\((?:\?(?:[:=!]|<[=!]|P?<\w+>))?)|\{(?P<least>\d*)(?:,(?P<most>\d*))?\}|.",
    re.DOTALL,
)
DIGITS_READ = 9


def copies(pattern: str) -> int:
    """How many characters it has when every counted repetition is written out. Raises `re.error` if it is none."""
    _parse(pattern)
    outer, total, last = list[int](), 0, 0
    for token in TOKEN.finditer(pattern):
        if token["begin"]:
            outer.append(total)
            total = last = 0
        elif token[0] == ")" and outer:
            last = max(1, total)
            total = outer.pop() + last
        elif (times := token["most"] or token["least"]) and last:
            added = last * (max(1, int(times[:DIGITS_READ])) - 1)
            total, last = total + added, last + added
        else:
            total, last = total + 1, 1
    return total


def _parse(pattern: str) -> None:
    try:
        _parser.parse(UNICODE_CLASS.sub(r"\\w", NAMED_GROUP.sub("(?P<", pattern)))
    except (OverflowError, RecursionError) as error:
        raise re.error("too large") from error
