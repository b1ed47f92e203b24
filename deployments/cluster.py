"""A private Ray with vlmfleet on it, in the foreground: `python -m deployments.cluster SERVE_YAML`.

Started by `deployments/launch.py` under a guard. Prints what happens, a line a change, and `ready` at the end of the
start; beside the file it leaves `address`, where the Ray is. SIGTERM shuts Serve and Ray down in order. Should Ray itself
die, it ends at once with the status `RAY_DIED`.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import ray
import yaml
from ray import serve
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET
from ray.serve._private.api import serve_start  # what `serve run` itself calls; there is no public form for a file
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from deployments.launch import RAY_DIED
from deployments.loopback import LOOPBACK, keep_to_loopback

POLL_S = 0.5
# A raylet ends with its agents, too.
VITAL = frozenset({PROCESS_TYPE_RAYLET, PROCESS_TYPE_GCS_SERVER})


class DeployFailed(Exception):
    """An application of the file did not start."""


def main(file: Path) -> None:
    signal.signal(signal.SIGTERM, _exit)
    config = ServeDeploySchema.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    keep_to_loopback()
    ray.init(
        address="local", namespace="serve", include_dashboard=False, logging_level=logging.WARNING,
        _node_ip_address=LOOPBACK,
    )  # fmt: skip
    file.with_name("address").write_text(ray.get_runtime_context().gcs_address, encoding="utf-8")
    say("Ray is up")
    try:
        client = serve_start(http_options=config.http_options.model_dump(), proxy_location=config.proxy_location)
        client.deploy_apps(config, _blocking=False)
        wait_until_running({application.name for application in config.applications})
        say("ready")
        while _ray_lives():
            time.sleep(POLL_S)
        os._exit(RAY_DIED)  # there is nobody left to shut down in order; the guard ends what there still is
    finally:
        serve.shutdown()
        ray.shutdown()


def wait_until_running(names: set[str]) -> None:
    """Print every change until all these applications run. Raises `DeployFailed` with Serve's own message."""
    known: dict[str, ApplicationStatus] = {}
    while set(known) != names or any(status != ApplicationStatus.RUNNING for status in known.values()):
        for name, application in serve.status().applications.items():
            if name in names and known.get(name) != application.status:
                known[name] = application.status
                say(f"{name}: {application.status.value.lower()}")
            if application.status == ApplicationStatus.DEPLOY_FAILED:
                reasons = [deployment.message for deployment in application.deployments.values()]
                raise DeployFailed("\n".join([f"{name}: {application.message}", *filter(None, reasons)]))
        time.sleep(POLL_S)


def _ray_lives() -> bool:
    """Neither of the two processes has ended without which nothing runs here; Ray starts none of them again."""
    ended = {kind for kind, _ in ray._private.worker._global_node.dead_processes()}  # noqa: SLF001  # Ray tells it nowhere else
    return ended.isdisjoint(VITAL)


def say(what: str) -> None:
    print(f"vlmfleet: {what}", flush=True)


def _exit(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
