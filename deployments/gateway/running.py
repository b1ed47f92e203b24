"""Which replicas run, as Serve tells its request router in this very process (`affinity_router.py`).

A module of its own: Serve pickles a router's class with its module's globals, so what is written there is a copy.
"""

# By application and deployment. Written in Serve's own thread, whole; read in the gateway's.
_running: dict[tuple[str, str], tuple[str, ...]] = {}


def publish(app_name: str, deployment_name: str, replica_ids: tuple[str, ...]) -> None:
    """These replicas run now, and no others."""
    _running[app_name, deployment_name] = replica_ids


def running_replicas(app_name: str, deployment_name: str) -> tuple[str, ...]:
    """The ids of the replicas that run, in order; none before Serve has said so."""
    return _running.get((app_name, deployment_name), ())
