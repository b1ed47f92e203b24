"""Which handler answers a request: by its path, then by its method."""

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from deployments.gateway.asgi import Exchange
from deployments.gateway.errors import MethodNotAllowed, NotFound

# Takes the names in its route's path as keywords.
Handler = Callable[..., Awaitable[None]]

_NAME = re.compile(r"\{(\w+)(\.\.\.)?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """In `path`, `{name}` stands for one segment and `{name...}`, at its end, for all that is left."""

    method: str
    path: str
    handler: Handler


class Routes:
    """A table of routes, by path and method."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_path: dict[str, dict[str, Handler]] = defaultdict(dict)
        for route in routes:
            by_path[route.path][route.method] = route.handler
        self._plain = {path: handlers for path, handlers in by_path.items() if not _NAME.search(path)}
        self._named = [(_pattern(path), by_path[path]) for path in by_path if path not in self._plain]

    def find(self, method: str, path: str) -> Callable[[Exchange], Awaitable[None]]:
        """HEAD is answered where GET is, and a slash at the end of a path is none. Raises `NotFound` or `MethodNotAllowed`."""
        path = path.removesuffix("/") or path
        if (handlers := self._plain.get(path)) is not None:
            return _of_method(handlers, method)
        # What is named here is a key of a store, and no store takes a NUL.
        for pattern, handlers in self._named if "\0" not in path else ():
            if (found := pattern.fullmatch(path)) is not None:
                return partial(_of_method(handlers, method), **found.groupdict())
        raise NotFound


def _of_method(handlers: dict[str, Handler], method: str) -> Handler:
    method = "GET" if method == "HEAD" else method
    if method not in handlers:
        raise MethodNotAllowed(", ".join(handlers).replace("GET", "GET, HEAD"))
    return handlers[method]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_NAME.sub(lambda name: f"(?P<{name[1]}>{'.*' if name[2] else '[^/]+'})", path), re.DOTALL)
