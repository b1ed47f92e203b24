"""Where a page of usage begins, as the `next_page` of the page before says it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter

from deployments.gateway.form import NO_NUL, UnixSeconds


@dataclass(frozen=True, slots=True)
class Mark:
    """At a bucket, or within it behind the result of `group`."""

    start_s: int
    group: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """`1700000000`, or with the group behind a point."""
        if self.group is None:
            return str(self.start_s)
        return f"{self.start_s}.{urlsafe_b64encode(orjson.dumps(self.group)).decode()}"

    @classmethod
    def read(cls, text: object) -> "Mark":
        """The inverse of `str`. Raises `ValueError`."""
        seconds, _, group = str(text).partition(".")
        named = GROUP.validate_json(urlsafe_b64decode(group)) if group else None
        return cls(SECONDS.validate_python(seconds), named)


GROUP = TypeAdapter(tuple[Annotated[str, Field(pattern=NO_NUL)], ...])
SECONDS = TypeAdapter(UnixSeconds)
