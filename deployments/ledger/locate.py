"""Finding the ledger's writer from another deployment."""

from typing import Any, TypeAlias

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.ledger.client import Address

# The name of the ledger's application, or the writer's handle in one's own application.
Ledger: TypeAlias = DeploymentHandle[Any] | str


async def writer_address(ledger: Ledger) -> Address:
    """Ask the writer where it listens. Raises OSError while it cannot be reached."""
    try:
        handle = serve.get_app_handle(ledger) if isinstance(ledger, str) else ledger
        address: Address = await handle.address.remote()
    except (RayError, RayServeException) as error:
        raise ConnectionError(f"the ledger's writer is not running: {error}") from error
    return address
