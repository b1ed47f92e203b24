"""What Serve says of the fleet on a private Ray, as JSON: `python -m deployments.status ADDRESS`.

A process of its own, with the Ray's token in its environment: Ray looks for one when it is first imported.
"""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import ray
from ray import serve

from deployments.loopback import keep_to_loopback


def main(address: str) -> None:
    keep_to_loopback()
    ray.init(address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
    print(json.dumps(list(_rows(serve.status().applications))))


def _rows(applications: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Each application, and below it its deployments."""
    for name, application in applications.items():
        yield {"name": name, "status": application.status.value, "message": application.message}
        for part, deployment in application.deployments.items():
            yield {"name": f"{name}/{part}", "status": deployment.status.value, "message": deployment.message}


if __name__ == "__main__":
    main(sys.argv[1])
