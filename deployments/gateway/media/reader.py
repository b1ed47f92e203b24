"""The inside of a sandbox: a process that reads hostile files, one after the other, and says what it found.

On its standard input comes a line of JSON, with the settings and the number of bytes, and then the file. It answers on
standard output: a line of JSON, one line of base64 for each thing found, and an empty line. It ends with its input.
Little is imported: its start costs as well.
"""

import base64
import json
import resource
import sys
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

from deployments.gateway.media.fault import Fault

# Answers: what was found, and the encoded things themselves.
Found = tuple[dict[str, Any], Iterable[bytes]]
Read = Callable[..., Found]


def main(read: Read) -> None:
    """`read(data, **settings)` of each file, within limits that the kernel enforces. Its `Fault` becomes the answer."""
    _limit_memory(int(sys.argv[1]))
    files, out = sys.stdin.buffer, sys.stdout.buffer
    while head := files.readline():
        settings = json.loads(head)
        _limit_cpu(settings.pop("cpu_s_max"))
        data = files.read(settings.pop("bytes"))
        try:
            found, things = read(data, **settings)
            out.write(json.dumps(found).encode() + b"\n")
            for thing in things:
                out.write(base64.b64encode(thing) + b"\n")
        except Fault as fault:
            out.write(json.dumps({"code": fault.code, "message": fault.message}).encode() + b"\n")
        out.write(b"\n")
        out.flush()


def _limit_memory(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # No file is written; nor are there credentials in its environment.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _limit_cpu(cpu_s: int) -> None:
    """From now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(used.ru_utime + used.ru_stime) + cpu_s, most))
