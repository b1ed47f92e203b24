"""Driving a running vlmfleet from outside: its processes, its ledger, its requests."""

import base64
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.generate import Example
from deployments.guard import descendants

CHECKOUT = Path(__file__).parents[2]
MODEL = "demo-qwen2-vl"
# Each on its own engine: vLLM and LMDeploy.
MODELS = (MODEL, "demo-internvl2")
PATIENCE_S = 240.0


@dataclass(frozen=True)
class Cluster:
    """A running vlmfleet."""

    url: str
    home: Path

    @property
    def key(self) -> str:
        return (self.home / "key").read_text().strip()

    @property
    def admin_key(self) -> str:
        return (self.home / "admin-key").read_text().strip()

    @property
    def launcher_pid(self) -> int:
        return int((self.home / "pid").read_text())

    def processes(self, words: str) -> list[int]:
        """Process ids below the launcher whose command line has these words, their guards left out."""
        return [
            pid
            for pid in descendants(self.launcher_pid)
            if words in command_line(pid) and "guard.py" not in command_line(pid)
        ]

    def engine_metric(self, name: str) -> float:
        """A gauge of the engine's own server, summed over its labels."""
        (pid,) = self.processes("vllm.entrypoints")
        arguments = command_line(pid).split("\0")
        host, port = arguments[arguments.index("--host") + 1], arguments[arguments.index("--port") + 1]
        headers = {"authorization": f"Bearer {variables(pid)['ENGINE_TOKEN']}"}
        text = httpx.get(f"http://{host}:{port}/metrics", headers=headers).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))

    def usage_rows(self) -> list[dict]:
        """Every row of the ledger's usage view, oldest first."""
        with sqlite3.connect(f"file:{self.home / 'ledger.db'}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM usage ORDER BY created_at_ms, request_id")]

    def open_holds(self) -> int:
        with sqlite3.connect(f"file:{self.home / 'ledger.db'}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM hold WHERE state = 'open'").fetchone()[0]


def command_line(pid: int) -> str:
    """A process's arguments, each ended by a NUL; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def variables(pid: int) -> dict[str, str]:
    """A process's environment, as it was started with."""
    words = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for something that will be; the bound only ends a test that has failed."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@contextmanager
def ending(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """A helper process that ends when this does, however it ends: a `Popen` alone would only be waited for."""
    with process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def vlmfleet(verb: str, home: Path, port: int, config: Path) -> subprocess.Popen:
    """`vlmfleet VERB` with a state folder and a port of its own."""
    settings = {"VLMFLEET_HOME": str(home), "VLMFLEET_PORT": str(port), "VLMFLEET_SERVE_CONFIG": str(config)}
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.launch", verb],
        cwd=CHECKOUT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def png(example: Example) -> bytes:
    out = io.BytesIO()
    example.image.save(out, "PNG")
    return out.getvalue()


def data_url(image: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(image).decode()}"


def asking(text: str, *urls: str) -> list[dict]:
    """The messages of one question about images."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


def about(example: Example, model: str = MODEL) -> dict:
    """The arguments of a chat completion that asks an example's question."""
    messages = asking(example.question, data_url(png(example)))
    return {"model": model, "messages": messages, "temperature": 0, "max_completion_tokens": 16}


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()
