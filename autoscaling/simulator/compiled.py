"""Machine code for the few loops that run once a request: a week of a million requests is a matter of seconds."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The same function, compiled at its first call and kept on disk."""
    return cast("F", njit(cache=True)(function))
