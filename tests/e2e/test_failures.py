"""Engines and processes that die: nothing is lost, nothing is left behind, and the next request works.

Named so that it runs after the tests that need the engine at peace.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import openai
import pytest

from catalog import load_catalog
from deployments.guard import descendants, guarded
from tests.e2e.cluster import (
    CHECKOUT,
    MODEL,
    MODELS,
    PATIENCE_S,
    about,
    alive,
    command_line,
    encoded,
    ending,
    free_port,
    vlmfleet,
    wait_until,
)
from torture.deaths.engine import play


def answers(client, example) -> bool:
    try:
        return bool(client.chat.completions.create(**about(example)).choices)
    except openai.APIStatusError:
        return False


def test_an_engine_that_dies_in_a_stream_is_reported_free_and_comes_back(cluster, client, held_out):
    """An error event ends the stream without [DONE], nothing is charged, 503 until the restart, then answers again."""
    body = about(held_out[0]) | {"max_completion_tokens": 512, "ignore_eos": True, "stream": True}
    headers = {"authorization": f"Bearer {cluster.key}"}
    killed, lines = False, []
    (replica,) = cluster.processes(f"ServeReplica:model-{MODEL}:Engine")
    engine = [pid for pid in descendants(replica) if "guard.py" not in command_line(pid)]
    with httpx.stream(
        "POST", f"{cluster.url}/v1/chat/completions", content=encoded(body), headers=headers, timeout=PATIENCE_S
    ) as response:
        for line in response.iter_lines():
            lines.append(line)
            if not killed and len(lines) > 8:
                killed = True
                for pid in cluster.processes("vllm.entrypoints"):
                    os.kill(pid, signal.SIGKILL)
    last = [line for line in lines if line][-1]
    assert '"finish_reason":"error"' in last
    assert '"code":"server_error"' in last
    wait_until(lambda: cluster.open_holds() == 0)
    row = cluster.usage_rows()[-1]
    assert (row["outcome"], row["charged_nano"]) == ("engine_failed", 0)

    # Until the last of its processes has gone, its port is open, and a request would be cut off instead.
    wait_until(lambda: not any(alive(pid) for pid in engine))
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(**about(held_out[0]))
    assert refused.value.status_code == 503
    assert refused.value.code == "model_warming"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 120
    wait_until(lambda: cluster.open_holds() == 0)
    wait_until(lambda: answers(client, held_out[0]))


def test_a_replica_killed_with_sigkill_leaves_no_engine(cluster, client, held_out):
    """The engine and all that it started die with their replica; Serve starts another, and it answers."""
    (replica,) = cluster.processes(f"ServeReplica:model-{MODEL}:Engine")
    engine = list(descendants(replica))
    assert any("vllm.entrypoints" in command_line(pid) for pid in engine)
    assert len(engine) >= 3
    os.kill(replica, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in engine))
    wait_until(lambda: answers(client, held_out[0]))
    assert len(cluster.processes("vllm.entrypoints")) == 1


def test_nothing_is_left_after_kill_9_of_the_launcher(tmp_path, serve_config):
    """Ray, HAProxy, replicas and engines end with the launcher, whatever ended it."""
    with ending(vlmfleet("run", tmp_path, free_port(), serve_config)) as run:
        wait_until(lambda: any("vllm.entrypoints" in command_line(pid) for pid in descendants(run.pid)))
        below = list(descendants(run.pid))
        run.kill()
        run.communicate()
    wait_until(lambda: not any(alive(pid) for pid in below))


def test_a_fleet_whose_ray_has_died_is_started_again(tmp_path, serve_config, monkeypatch):
    """A raylet ends with its agent, too, and Ray starts none of them again. The engines are played."""
    for model in MODELS:
        play(tmp_path / "engines", load_catalog().find(model))
    monkeypatch.setenv("VLMFLEET_ENGINES", str(tmp_path / "engines"))
    with ending(vlmfleet("run", tmp_path, free_port(), serve_config)) as run:
        wait_until((tmp_path / "ready").exists)
        (agent,) = [pid for pid in descendants(run.pid) if "ray::DashboardAgent" in command_line(pid)]
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: not (tmp_path / "ready").exists())
        wait_until((tmp_path / "ready").exists)


def test_ctrl_c_stops_everything(tmp_path, serve_config):
    """SIGINT in the middle of the start ends all of it, in order, with status 0."""
    with ending(vlmfleet("run", tmp_path, free_port(), serve_config)) as run:
        wait_until(lambda: any("raylet" in command_line(pid) for pid in descendants(run.pid)))
        below = list(descendants(run.pid))
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate()
    assert run.returncode == 0, output
    assert not any(alive(pid) for pid in below)


def test_a_second_start_is_refused(cluster, serve_config):
    """One checkout state, one cluster."""
    second = vlmfleet("run", cluster.home, free_port(), serve_config)
    output, _ = second.communicate()
    assert second.returncode == 1
    assert "make down" in output


def test_serve_run_on_an_existing_ray_without_haproxy(tmp_path, held_out):
    """`serve run serve.yaml` works as any Serve config does, with Serve's own proxy."""
    address, port = f"127.0.0.3:{free_port()}", free_port()
    config = tmp_path / "serve.yaml"
    config.write_text((CHECKOUT / "serve.yaml").read_text().replace("port: 8000", f"port: {port}"))
    binaries = Path(sys.executable).parent
    ray_folder = Path(tempfile.mkdtemp(prefix="vt-"))
    environment = os.environ | {
        "RAY_TMPDIR": str(ray_folder),
        "RAY_ADDRESS": "",
        "RAY_AUTH_MODE": "disabled",
        "RAY_SERVE_ENABLE_HA_PROXY": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLMFLEET_HOME": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT),
    }
    host, gcs_port = address.split(":")
    head = [str(binaries / "ray"), "start", "--head", f"--node-ip-address={host}", f"--port={gcs_port}"]
    head += ["--include-dashboard=false", "--disable-usage-stats", "--block"]
    serve = [str(binaries / "serve"), "run", str(config), "--address", address]
    started: list[subprocess.Popen] = []

    def start(command: list[str]) -> None:
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    guarded(command, 20),
                    env=environment,
                    cwd=CHECKOUT,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    try:
        start(head)
        wait_until(lambda: listening(host, int(gcs_port)))
        start(serve)
        wait_until(lambda: (tmp_path / "key").exists() and listening("127.0.0.1", port), patience_s=3 * PATIENCE_S)
        key = (tmp_path / "key").read_text().strip()
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as client:
            wait_until(
                lambda: answers(client, held_out[0]), patience_s=3 * PATIENCE_S
            )  # beside the other fleet's engines
            stream = client.chat.completions.create(**about(held_out[0]), stream=True)
            assert {chunk.model for chunk in stream} == {MODEL}
    finally:
        for process in reversed(started):
            with process:  # closes the lifeline, too
                process.terminate()
        subprocess.run(["rm", "-rf", str(ray_folder)], check=True)


def listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
