"""Free ports for what we start."""

import random
import socket
from contextlib import closing, suppress

# Linux takes those of connections from above (net.ipv4.ip_local_port_range), Ray those of its workers from below: so a port
# is still free when an engine is started on it, and started again.
PORTS = range(20_000, 30_000)


def free_port(host: str) -> int:
    """A port of `host` that nothing listens on."""
    while True:
        port = random.choice(PORTS)  # noqa: S311  # not a secret
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
