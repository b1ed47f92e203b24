"""Starts HAProxy for Serve, with what Serve's template does not have: `python haproxy.py [--alone] BINARY ARGUMENTS...`

Serve writes a configuration and runs this on it, at its start and at every reload. `docs/ray-serve.md` has the reasons.
Standard library only: it runs without our environment.
"""

import os
import sys
from pathlib import Path

ALONE = "--alone"
# Nobody but an operator on this node looks at it; on a cluster, Prometheus comes for the other one.
OPERATORS, PROMETHEUS = "listen stats", "frontend prometheus"
CALLERS = "frontend http_frontend"
# Serve logs a caller's own id and sends it back as it came. One that is not short and plain is forgotten; Serve makes another.
FORGET_ID = (
    "http-request del-header x-request-id unless { req.fhdr_cnt(x-request-id) 1 } "
    "{ req.fhdr(x-request-id) -m reg '^[A-Za-z0-9._:+=/@-]{1,128}$' }"
)
# For the headers of a request: they are a few kilobytes, so who needs longer only holds a connection.
HEADERS_S = 10


def tightened(config: str, *, alone: bool) -> str:
    """Serve's configuration with a time limit for headers, ids that can be logged, and nobody let in who need not be. Pure.

    `alone`: nobody comes for metrics from another machine.
    """
    lines, section = [], ""
    for line in config.splitlines():
        section = line.strip() if line[:1].strip() else section
        if line.split()[:1] == ["bind"] and (section == OPERATORS or (alone and section == PROMETHEUS)):
            lines.append(f"    bind 127.0.0.1:{line.rpartition(':')[2]}")
        else:
            # Over its socket everything can be changed.
            lines.append(line.replace(" mode 666 ", " mode 600 ") if section == "global" else line)
        if section == CALLERS and line.split()[:1] == ["bind"]:
            lines.append(f"    {FORGET_ID}")
        if line.strip() == "defaults":
            lines.append(f"    timeout http-request {HEADERS_S}s")
    return "\n".join(lines) + "\n"


def main() -> None:
    words = sys.argv[1:]
    alone = words[0] == ALONE
    binary, *arguments = words[int(alone) :]
    if "-f" in arguments:
        file = Path(arguments[arguments.index("-f") + 1])
        file.write_text(tightened(file.read_text(encoding="utf-8"), alone=alone), encoding="utf-8")
    # -dS: without splicing, with which HAProxy misses clients that leave.
    os.execv(binary, [binary, "-dS", *arguments])  # noqa: S606  # no shell is meant


if __name__ == "__main__":
    main()
