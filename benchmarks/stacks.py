"""The three stacks, each started alone on this machine and stopped again: the bare engine, ray.serve.llm, vlmfleet."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from catalog import ModelCard, load_catalog
from deployments.engines.environment import EngineEnvironment, find_environment
from deployments.engines.started import started_sync
from deployments.engines.vllm import CPU_KV_CACHE_GIB
from deployments.guard import guarded
from deployments.launch import DEMO_MODEL, READY, cluster_environment, serve_config, wrap_haproxy
from deployments.port import free_port

CHECKOUT = Path(__file__).parent.parent
CARDS = Path(__file__).with_name("cards")
ENGINES = CHECKOUT / ".venvs"
PEER_HOME = ENGINES / "bench-serve-llm"
PEER_PINS = CHECKOUT / "environments" / "bench.txt"
MODEL = "bench-qwen2-vl"
HOST = "127.0.0.1"
START_S_MAX = 300.0
STOP_S = 30.0
POLL_S = 0.25
# Away from those of a cluster that runs on this machine already.
INGRESS_PORTS = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": "32000",
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": "32500",
    "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": "42000",
    "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": "42500",
}


class StackError(Exception):
    """A stack did not start. The message ends with its log."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: where it listens, the key that opens it, and the process above all its processes."""

    name: str
    url: str
    key: str
    pid: int


Starter = Callable[[ModelCard], AbstractContextManager[Stack]]


def bench_card() -> ModelCard:
    """The benchmark's card; its weights are written if they are not there yet."""
    (card,) = load_catalog(CARDS).pick([MODEL])
    if not (_weights(card) / "config.json").exists():
        python = _engine(card).python
        subprocess.run(
            [str(python), "-m", "benchmarks.tiny", str(_weights(card))],
            cwd=CHECKOUT, env=_inherited() | {"HF_HUB_OFFLINE": "1"}, check=True,
        )  # fmt: skip
    return card


@contextmanager
def bare(card: ModelCard) -> Iterator[Stack]:
    """The engine's own server, started as our replica starts it."""
    with started_sync(card, _engine(card), _weights(card)) as engine:
        assert engine.server.pid
        yield Stack("bare", engine.url, engine.token, engine.server.pid)


@contextmanager
def vlmfleet(card: ModelCard) -> Iterator[Stack]:
    """`serve.yaml` as it is, with the benchmark's card and a ledger and key of its own."""
    with _vlmfleet(card, "vlmfleet", "deployments.apps:gateway") as stack:
        yield stack


@contextmanager
def vlmfleet_unaccounted(card: ModelCard) -> Iterator[Stack]:
    """The same, but that nothing is held or charged."""
    with _vlmfleet(card, "vlmfleet, accounting off", "benchmarks.unaccounted:gateway") as stack:
        yield stack


@contextmanager
def _vlmfleet(card: ModelCard, name: str, gateway: str) -> Iterator[Stack]:
    with _scratch() as folder:
        text = one_model((CHECKOUT / "serve.yaml").read_text(encoding="utf-8"), card.served_name)
        text = text.replace("deployments.apps:gateway", gateway)
        port = free_port(HOST)
        variables = {"VLMFLEET_HOME": str(folder / "state"), "VLMFLEET_CARDS": str(CARDS)}
        with _ray(sys.executable, serve_config(text, port), variables, folder) as process:
            key = (folder / "state" / "key").read_text(encoding="utf-8").strip()
            yield Stack(name, f"http://{HOST}:{port}", key, process.pid)


def one_model(text: str, name: str) -> str:
    """`serve.yaml` with this model in place of the demo's. Pure."""
    config = yaml.safe_load(text)
    others = {app["name"] for app in config["applications"] if app["args"].get("model", DEMO_MODEL) != DEMO_MODEL}
    config["applications"] = [app for app in config["applications"] if app["name"] not in others]
    for app in config["applications"]:
        app["args"] |= {"models": [name]} if "models" in app["args"] else {}
    return yaml.safe_dump(config).replace(DEMO_MODEL, name)


@contextmanager
def ray_serve_llm(card: ModelCard) -> Iterator[Stack]:
    """The peer as its users get it: through Serve's own proxy, for HAProxy is off unless asked for."""
    with _peer(card, "ray.serve.llm", haproxy=False) as stack:
        yield stack


@contextmanager
def ray_serve_llm_haproxy(card: ModelCard) -> Iterator[Stack]:
    """The peer behind HAProxy, as we are."""
    with _peer(card, "ray.serve.llm+haproxy", haproxy=True) as stack:
        yield stack


STACKS: dict[str, Starter] = {
    "bare": bare,
    "ray.serve.llm": ray_serve_llm,
    "ray.serve.llm+haproxy": ray_serve_llm_haproxy,
    "vlmfleet": vlmfleet,
    "vlmfleet, accounting off": vlmfleet_unaccounted,
}
DEFAULT_STACKS = ("bare", "ray.serve.llm", "vlmfleet")


def make_peer_environment() -> Path:
    """Its Python. The vLLM environment with Ray on top: made once, and anew when a pin or the engine changes."""
    python, done = PEER_HOME / "bin" / "python", PEER_HOME / "made"
    recipe = PEER_PINS.read_text(encoding="utf-8") + (ENGINES / "vllm" / "vlmfleet-made").read_text(encoding="utf-8")
    if done.exists() and done.read_text(encoding="utf-8") == recipe:
        return python
    print(f"making {PEER_HOME}: ray.serve.llm beside our vLLM, a minute or two", flush=True)
    venv.create(PEER_HOME, with_pip=True, clear=True)
    (packages,) = PEER_HOME.glob("lib/python*/site-packages")
    (borrowed,) = (ENGINES / "vllm").glob("lib/python*/site-packages")
    # As a folder of packages, not as a mere path, so that its own start-up hooks run here too.
    (packages / "vllm_environment.pth").write_text(
        f"import site; site.addsitedir({str(borrowed)!r})\n", encoding="utf-8"
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--progress-bar", "off"]
    subprocess.run([*pip, "--requirement", str(PEER_PINS)], check=True)
    done.write_text(recipe, encoding="utf-8")
    return python


def peer_config(card: ModelCard, engine: EngineEnvironment) -> dict[str, object]:
    """The Serve file of the peer: the engine has the arguments that `deployments/engines/vllm.py` gives. Pure."""
    vision = card.vision
    arguments = {
        "max_model_len": card.context_tokens,
        "max_num_seqs": card.engine.sequences_max,
        "limit_mm_per_prompt": {"image": card.inputs.images_max, "video": int(card.inputs.video)},
        "mm_processor_kwargs": {"min_pixels": vision.pixels_min, "max_pixels": vision.pixels_max},
        "generation_config": "vllm",
    }
    arguments |= {name.replace("-", "_"): value for name, value in card.engine.options.items()}
    args = {
        "model": card.served_name,
        "weights": str(_weights(card)),
        "engine": arguments,
        "environment": {"VLLM_CPU_KVCACHE_SPACE": str(CPU_KV_CACHE_GIB), "HF_HUB_OFFLINE": "1"}
        | card.engine.environment,
        "gpus": int(engine.build == "gpu"),
    }
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": HOST, "request_timeout_s": 660},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {"name": "llm", "route_prefix": "/", "import_path": "benchmarks.serve_llm_app:app", "args": args}
        ],
    }


@contextmanager
def _peer(card: ModelCard, name: str, *, haproxy: bool) -> Iterator[Stack]:
    python = make_peer_environment()
    with _scratch() as folder:
        port = free_port(HOST)
        config = serve_config(yaml.safe_dump(peer_config(card, _engine(card))), port)
        variables = {"RAY_SERVE_ENABLE_HA_PROXY": str(int(haproxy)), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        with _ray(str(python), config, variables, folder) as process:
            yield Stack(name, f"http://{HOST}:{port}", "", process.pid)


@contextmanager
def _ray(
    python: str, config: dict[str, object], variables: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A private Ray on loopback with the applications of `config`, all of them running."""
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    wrap_haproxy(folder / "haproxy")
    (folder / "token").write_text(secrets.token_hex(32), encoding="utf-8")
    environment = cluster_environment(folder, [free_port(HOST), free_port(HOST)]) | INGRESS_PORTS | variables
    command = [python, "-m", "deployments.cluster", str(file)]
    with _running(command, _inherited() | environment, folder) as process:
        _wait(lambda: READY in _log(folder), process, folder)
        yield process


@contextmanager
def _running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command under a guard, its output in `folder/log`. Nothing of it is left behind."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            guarded(command, STOP_S),
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.PIPE,  # the guard's lifeline
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the stack says so. Raises `StackError`."""
    deadline = time.monotonic() + START_S_MAX
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(_log(folder).splitlines()[-40:])
            raise StackError(f"the stack did not start; its log ends with:\n{tail}")
        time.sleep(POLL_S)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder with a short path: HAProxy's socket path below it, a node id in it, must stay under 98 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="vb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inherited() -> dict[str, str]:
    """Our environment without what would change a stack's Python, Ray or engine."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RAY_", "VLLM_", "VLMFLEET_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _engine(card: ModelCard) -> EngineEnvironment:
    return find_environment(ENGINES, card.engine.name, card.engine.version)


def _weights(card: ModelCard) -> Path:
    assert card.source.path
    return CHECKOUT / card.source.path


def _log(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8", errors="replace")
