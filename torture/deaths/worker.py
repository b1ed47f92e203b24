"""A second node on loopback, as `ray start` makes it: `python -m torture.deaths.worker --address=HOST:PORT`."""

import sys

from ray.scripts.scripts import main

from deployments.loopback import LOOPBACK, keep_to_loopback
from deployments.port import free_port

CPUS = 2

if __name__ == "__main__":
    keep_to_loopback()
    agent = f"--dashboard-agent-listen-port={free_port(LOOPBACK)}"  # the head's has the usual one
    sys.argv = ["ray", "start", *sys.argv[1:], f"--node-ip-address={LOOPBACK}", f"--num-cpus={CPUS}", agent, "--block"]
    main()
