"""`vlmfleet status`: what Serve says of this machine's own fleet."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cli.failed import Failed
from cli.options import AsJson
from cli.table import sentence, show, text
from deployments.launch import CHECKOUT, private_ray, state_folder

# A Ray that has just lost its head is asked again and again.
PATIENCE_S = 60
COLUMNS = [text("name"), text("status"), sentence("message")]


def status(as_json: AsJson = False) -> None:
    """Say of this machine's fleet which applications and deployments run, and of others why not: what `serve status` says
    of a Ray of your own.
    """
    found = private_ray(state_folder())
    if found is None:
        raise Failed(
            "vlmfleet does not run from this checkout; start it with: make up. Of a Ray of your own: serve status"
        )
    rows = asked(*found)
    show(COLUMNS, rows, {"data": rows}, as_json=as_json)


def asked(address: str, token: Path) -> list[dict[str, str]]:
    """Each application and, below it, its deployments: `name`, `status`, `message`. Raises `Failed`."""
    token_of_ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deployments.status", address],
            cwd=CHECKOUT, env=os.environ | token_of_ray, capture_output=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Failed("the fleet's Ray does not answer; .vlmfleet/log has its last words") from error
    rows: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return rows
