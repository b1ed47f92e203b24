"""Work that takes longer the more bytes there are, off the event loop where they are many."""

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

# So many are read, hashed and encoded in less than a millisecond.
AT_ONCE_BYTES_MAX = 256 * 1024

P = ParamSpec("P")
B = TypeVar("B", str, bytes)
T = TypeVar("T")


async def at_once_if_small(work: Callable[Concatenate[B, P], T], data: B, *more: P.args, **named: P.kwargs) -> T:
    """`work(data, ...)`; in a thread where the bytes are many."""
    if len(data) <= AT_ONCE_BYTES_MAX:
        return work(data, *more, **named)
    return await asyncio.to_thread(work, data, *more, **named)
