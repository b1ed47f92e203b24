"""Calls from web pages of other origins (CORS): what their browser asks before, and wants to read in an answer. Pure.

Credentials of the browser's own, such as cookies, are never allowed: a key travels in `Authorization`, so a page can only call
with a key that it was given.
"""

from dataclasses import dataclass

ANY = "*"
# A star stands for all headers but `Authorization`.
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"authorization, *"),
    (b"access-control-max-age", b"7200"),
]


@dataclass(frozen=True, slots=True)
class Origins:
    """Whose pages may call: origins such as `https://app.example.org`, or `*` for all."""

    allowed: tuple[str, ...] = (ANY,)

    def headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """What every answer to a page of this origin says; without it the page cannot read the answer."""
        exposed = (b"access-control-expose-headers", ANY.encode())
        if ANY in self.allowed:
            return [(b"access-control-allow-origin", ANY.encode()), exposed] if origin else []
        differs = (b"vary", b"origin")
        if origin not in self.allowed:
            return [differs]
        return [(b"access-control-allow-origin", origin.encode("latin-1")), exposed, differs]


ALL_ORIGINS = Origins()
