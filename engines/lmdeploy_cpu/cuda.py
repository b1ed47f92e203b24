"""`torch.cuda` as far as the engine calls it on every device: streams and events that have nothing to wait for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch

# Nothing is sized by it: the launcher gives the number of cache blocks.
MEMORY_BYTES = 4 << 30


class Event:
    """Ready at the second look.

    While a step runs the engine looks again and again, giving its event loop back in between. An event that is ready at
    once would starve the loop: no request would come in, and none could be cancelled.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        self._looked = True

    def record(self, stream: Any = None) -> None:
        self._looked = False

    def query(self) -> bool:
        looked, self._looked = self._looked, True
        return looked

    def wait(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: Self) -> float:
        return 0.0


class Stream:
    """What is queued on it has been done."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_event(self, event: Event) -> None: ...

    def wait_stream(self, stream: Self) -> None: ...

    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True


CURRENT = Stream()


@contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    yield


def replace_torch_cuda() -> None:
    """For this process. `torch.cuda.is_available()` stays False."""
    replacements = {
        "Stream": Stream,
        "Event": Event,
        "stream": on_stream,
        "current_stream": lambda *_: CURRENT,
        "default_stream": lambda *_: CURRENT,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "current_device": lambda: torch.device("cpu"),
        "set_device": lambda *_: None,
        "mem_get_info": lambda *_: (MEMORY_BYTES, MEMORY_BYTES),
    }
    for name, replacement in replacements.items():
        setattr(torch.cuda, name, replacement)
