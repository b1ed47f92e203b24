"""The inside of a sandbox: a process that reads one hostile file, says what it found, and ends.

Its standard input is the file, its argument the settings in JSON. It answers on standard output: a line of JSON, then
one line of base64 for each thing found. Little is imported: every file costs a start.
"""

import base64
import json
import resource
import sys
from collections.abc import Callable, Iterable
from typing import Any

from deployments.gateway.media.fault import Fault

# Answers: what was found, and the encoded things themselves.
Found = tuple[dict[str, Any], Iterable[bytes]]
Read = Callable[..., Found]


def main(read: Read) -> None:
    """`read(data, **settings)`, within limits that the kernel enforces. Its `Fault` becomes the answer."""
    settings = json.loads(sys.argv[1])
    _limit(settings.pop("memory_bytes_max"), settings.pop("cpu_s_max"))
    out = sys.stdout.buffer
    try:
        found, things = read(sys.stdin.buffer.read(), **settings)
        out.write(json.dumps(found).encode() + b"\n")
        for thing in things:
            out.write(base64.b64encode(thing) + b"\n")
    except Fault as fault:
        out.write(json.dumps({"code": fault.code, "message": fault.message}).encode() + b"\n")


def _limit(memory_bytes: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # No file is written; nor are there credentials in its environment.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
