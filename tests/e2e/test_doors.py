"""A running fleet, seen by another user of the machine, and by another machine."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import psutil
import pytest

from deployments.guard import descendants
from tests.e2e.cluster import CHECKOUT, Cluster, variables

pytestmark = pytest.mark.engine


def processes(cluster: Cluster) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in descendants(cluster.launcher_pid)]


def listening(cluster: Cluster) -> set[tuple[str, str, int]]:
    """Process, address and port."""
    return {
        (process.name(), each.laddr.ip.removeprefix("::ffff:"), each.laddr.port)
        for process in processes(cluster)
        for each in process.net_connections()
        if each.status == psutil.CONN_LISTEN
    }


def test_only_serves_replicas_listen_for_other_machines(cluster: Cluster):
    """Ray, its exporters, HAProxy, its statistics, gateways, ledger and engines are on loopback. What Serve's replicas say to
    each other has no setting.
    """
    found = listening(cluster)
    assert {"haproxy", "raylet", "gcs_server"} <= {name for name, _, _ in found}
    outside = [(name, ip) for name, ip, _ in found if ip != "127.0.0.1"]
    assert [(name, ip) for name, ip in outside if not (name.startswith("ray::ServeReplica") and ip == "::")] == []


def test_serves_replicas_take_nothing_without_rays_token(cluster: Cluster):
    """They unpickle what they take."""
    for port in {port for _, ip, port in listening(cluster) if ip == "::"}:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refusal:
            channel.unary_unary("/ray.serve.ASGIService/HandleRequest")(b"", timeout=30)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_another_user_reads_nothing(cluster: Cluster):
    """Neither the state of the fleet, nor what lies in its temporary folder while it runs."""
    temporary = variables(cluster.processes("raylet/raylet")[0])["TMPDIR"]
    for folder in (cluster.home, Path(temporary)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = {file.name: stat.S_IMODE(file.stat().st_mode) for file in cluster.home.iterdir() if file.is_file()}
    assert kept.keys() >= {"key", "admin-key", "ledger.db", "ledger.db-wal", "log"}
    assert set(kept.values()) == {0o600}


def test_no_secret_is_in_a_command_line(cluster: Cluster):
    """Every user of the machine can read them."""
    engine = variables(cluster.processes("vllm.entrypoints")[0])
    words = " ".join(" ".join(process.cmdline()) for process in processes(cluster))
    assert not [secret for secret in (engine["ENGINE_TOKEN"], cluster.key, cluster.admin_key) if secret in words]


def own(cluster: Cluster, *words: str) -> dict:
    """A command as pasted on the fleet's machine: it finds the fleet by itself."""
    settings = {"VLMFLEET_HOME": str(cluster.home), "VLMFLEET_PORT": cluster.url.rpartition(":")[2]}
    command = [sys.executable, "-m", "cli", *words, "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_the_status_of_a_private_fleet_is_told(cluster: Cluster):
    """By the command of the runbooks."""
    told = {row["name"]: row["status"] for row in own(cluster, "status")["data"]}
    assert told["gateway"] == "RUNNING"
    assert told["gateway/Gateway"] == "HEALTHY"


def test_doctor_looks_at_a_private_ray(cluster: Cluster):
    found = {finding["check"]: finding["level"] for finding in own(cluster, "doctor")["findings"]}
    assert (found["ray"], found["ray token"]) == ("ok", "ok")
