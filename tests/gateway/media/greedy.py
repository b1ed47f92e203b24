"""A reader that does what a hostile file could make one do. Runs in a sandbox, as a program."""

import signal
import time
from collections.abc import Iterator

from deployments.gateway.media.reader import Found, main


def read(data: bytes, does: str) -> Found:
    match does:
        case "takes memory":
            return {"bytes": len(bytes(2 * 2**30))}, ()
        case "computes for ever":
            while True:
                pass
        case "computes half its time":
            until_s = time.process_time() + 0.5
            while time.process_time() < until_s:
                pass
        case "sleeps for ever":
            signal.pause()
        case "writes a file":
            with open("/tmp/vlmfleet-greedy", "wb", buffering=0) as file:  # noqa: PTH123  # imports nothing
                file.write(data)
        case "crashes":
            signal.raise_signal(signal.SIGSEGV)
        case "answers for ever":
            return {}, _endless()
    return {"bytes": len(data)}, (data,)


def _endless() -> Iterator[bytes]:
    while True:
        yield bytes(2**20)


if __name__ == "__main__":
    main(read)
