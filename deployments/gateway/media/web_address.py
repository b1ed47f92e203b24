"""A URL to fetch, with its path and query exactly as they were written: who signs a URL signs its very text."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from yarl import URL

# Signed URLs have some two thousand; servers take eight.
CHARACTERS_MAX = 8_192
SCHEMES = ("http", "https")
_PATH_AND_QUERY = re.compile(r"[A-Za-z]+://[^/?#]*(?P<target>[^#]*)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# All that may stand in the first line of a request. Anything else, such as a blank or a letter of another script, is
# escaped, as browsers do.
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class NotAnAddress(ValueError):
    """Not an http or https URL without user and password, or one that is too long."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """`origin` is scheme, host and port; `target` the path and query that the server is asked for."""

    origin: URL
    target: str

    def __post_init__(self) -> None:
        # Anything else would go on where the host ends: `http://host` and `x:y@10.0.0.1/` are one URL, of another host.
        if not self.target.startswith("/"):
            raise NotAnAddress

    @property
    def host(self) -> str:
        return self.origin.raw_host or ""

    @property
    def url(self) -> URL:
        """For aiohttp, which sends it as it is."""
        return URL(f"{self.origin}{self.target}", encoded=True)

    def redirected(self, location: str) -> "WebAddress":
        """Where a redirect from here leads. Raises `NotAnAddress`."""
        if len(location) > CHARACTERS_MAX:
            raise NotAnAddress
        if _SCHEME.match(location):
            return read_address(location)
        if location.startswith("//"):
            return read_address(f"{self.origin.scheme}:{location}")
        return WebAddress(self.origin, _escaped(self._joined(location.partition("#")[0])))

    def _joined(self, reference: str) -> str:
        path = self.target.partition("?")[0]
        if reference.startswith("/"):
            return reference
        if reference.startswith("?"):
            return path + reference
        # Only a path that is relative is put together anew; its query is left alone.
        relative, mark, query = reference.partition("?")
        return (urljoin(path, relative) if relative else self.target) + mark + query


def read_address(url: str) -> WebAddress:
    """Raises `NotAnAddress`."""
    if len(url) > CHARACTERS_MAX:
        raise NotAnAddress
    text = _PATH_AND_QUERY.match(url)
    try:
        parsed = URL(url)
        is_web = bool(parsed.scheme in SCHEMES and parsed.host and parsed.user is None and parsed.password is None)
    except ValueError as error:  # also of what is read late: a host that is no name
        raise NotAnAddress from error
    if not text or not is_web:
        raise NotAnAddress
    target = _escaped(text["target"])
    return WebAddress(parsed.origin(), target if target.startswith("/") else "/" + target)


def _escaped(text: str) -> str:
    return quote(text, safe=_PRINTABLE, errors="surrogateescape")
