"""A fleet as its manifests render it, on one machine: a folder of cards, an overlay, and a cluster that runs it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import httpx
import yaml

from catalog.catalog import CARDS, load_card
from deployments.guard import guarded
from deployments.kubernetes.overlay import render, write
from tests.e2e.cluster import CHECKOUT, Cluster, ending, free_port, wait_until
from tests.e2e.raylets import Placement
from tests.missing import needs_program
from tests.models.running import environment_of

GRACE_S = 30.0
START_S = 600.0


@dataclass(frozen=True)
class Folders:
    """What a platform team keeps in git (`overlay`, `cards`), and the cluster's own state (`home`)."""

    overlay: Path
    cards: Path
    home: Path

    def render(self, cards: dict[str, dict[str, Any]], **scaling: object) -> None:
        """`vlmfleet k8s render`, when these are the cards; `scaling` are settings that no fleet needs, but a short test."""
        for file in self.cards.glob("*.yaml"):
            file.unlink()
        for name, card in cards.items():
            (self.cards / f"{name}.yaml").write_text(yaml.safe_dump(card))
        write(self.overlay, render(self.overlay, self.cards))
        config = yaml.safe_load((self.overlay / "serve-config.yaml").read_text())
        (application,) = (one for one in config["applications"] if one["name"] == "scaling")
        application["args"] |= scaling
        (self.overlay / "serve-config.yaml").write_text(yaml.safe_dump(config))


@dataclass(frozen=True)
class Fleet:
    """A running cluster, and who runs it."""

    url: str
    folders: Folders
    store: str  # a SQLite file or a PostgreSQL URL
    operator: Connection

    @property
    def key(self) -> str:
        return (self.folders.home / "key").read_text().strip()

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.url.removesuffix("/v1"), self.folders.home)

    def do(self, *command: str) -> Placement:
        """What an operator does or a fault, as `Raylets` has it."""
        self.operator.send(command)
        answer = self.operator.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def open_holds(self) -> int:
        """By the fleet's own metrics."""
        admin = {"authorization": f"Bearer {self.cluster.admin_key}"}
        lines = httpx.get(f"{self.cluster.url}/metrics", headers=admin, timeout=30).text.splitlines()
        (count,) = (line.split()[1] for line in lines if line.startswith("vlmfleet_holds_open "))
        return int(float(count))

    def verified(self) -> str:
        """What `vlmfleet ledger verify` says."""
        command = [sys.executable, "-m", "cli", "ledger", "verify", self.store]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout

    def deploy(self) -> Placement:
        return self.do("deploy", str(self.folders.overlay))


def card(name: str, kind: str, **changes: Any) -> dict[str, Any]:
    """The demo's, on our Transformers server, the engine that starts fastest, and on a GPU that is only counted."""
    made = yaml.safe_load((CARDS / "demo-qwen2-vl.yaml").read_text())
    made |= {"id": f"tests/{name}", "served_name": name, "aliases": []}
    made["engine"] |= {"name": "transformers", "version": "5.19.0", "options": {"dtype": "float32"}}
    made["accelerators"] |= {"kind": kind, "count": 1}
    made["supported_parameters"] = ["temperature", "seed", "ignore_eos"]
    return made | changes


def one_pool(gpus: int, deadline_s: int) -> str:
    """`fleet.yaml` of a pool with so many L4, which all models share."""
    return f"""
models: every
images:
  transformers: {{image: registry.example.com/transformers, version: 5.19.0}}
accelerators:
  L4: {{cpus: 1, memory_gib: 4, scratch_gib: 10, accelerators_max: {gpus}}}
gateway: {{replicas: 1, replicas_per_node_max: 1}}
ledger_writers: 1
deadline_s: {deadline_s}
"""


@contextmanager
def running(folders: Folders, postgres_url: str = "") -> Iterator[Fleet]:
    """A raylet for each group, Redis for the control service, Serve with no application. The ledger is a file by default.

    Skips the test where Redis or an engine's environment is not installed.
    """
    needs_program("redis-server", "redis-server")
    for file in folders.cards.glob("*.yaml"):
        environment_of(load_card(file))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vlm-", ignore_cleanup_errors=True) as folder, redis(folder) as address:
        socket = f"{folder}/operator"
        command = [sys.executable, "-m", "tests.e2e.raylets", str(folders.overlay), str(port), socket]
        started = subprocess.Popen(
            guarded(command, GRACE_S),
            cwd=CHECKOUT,
            env=os.environ
            | environment(folders, folder)
            | {"RAY_REDIS_ADDRESS": address, "VLMFLEET_STORE": postgres_url},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        with ending(started) as cluster:
            wait_until(lambda: Path(socket).exists() or cluster.poll() is not None, START_S)
            with Client(socket, "AF_UNIX") as operator:
                store = postgres_url or str(folders.home / "ledger.db")
                yield Fleet(f"http://127.0.0.1:{port}/v1", folders, store, operator)


@contextmanager
def redis(folder: str) -> Iterator[str]:
    """One of one's own, which keeps what the control service knows."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
    with ending(subprocess.Popen(command, stdout=subprocess.DEVNULL)):
        yield f"127.0.0.1:{port}"


def environment(folders: Folders, ray_folder: str) -> dict[str, str]:
    """As in the pods, but for HAProxy, of which a machine has one."""
    return {
        "VLMFLEET_HOME": str(folders.home),
        "VLMFLEET_CARDS": str(folders.cards),
        "RAY_TMPDIR": ray_folder,
        "RAY_SERVE_ENABLE_HA_PROXY": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ADDRESS": "",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(CHECKOUT),
    }
