"""JSON as one line for whoever reads it: a line of a file, or an event of a stream. Pure."""

import orjson

# JSON may have these in a text as they are, and many programs end a line at them: Python's `splitlines` and httpx's
# `iter_lines` do.
LINE_ENDS = {end.encode(): f"\\u{ord(end):04x}".encode() for end in "\u0085\u2028\u2029"}


def one_line(data: object) -> bytes:
    """Without its end."""
    return escaped(orjson.dumps(data))


def escaped(line: bytes) -> bytes:
    """The same of JSON that is encoded already."""
    for end, written in LINE_ENDS.items():
        line = line.replace(end, written)
    return line
