"""The request router that Serve runs inside each gateway for an engine's deployment. Named in `deployments/apps.py`.

The gateway decides (`affinity.py`): it knows what each of its requests costs. A `session_id` is the id of the replica that
it wants; Serve reserves a slot there, and elsewhere only if that replica is gone or full. In return the gateway learns
here, and nowhere else in Serve's public interface, which replicas there are.
"""

from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from deployments.gateway import running


class AffinityRouter(RequestRouter):  # type: ignore[misc]  # Ray has no types for it
    """The wanted replica first, then all others by their load."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Called by Serve when a replica comes or goes."""
        super().update_replicas(replicas)
        self._publish()

    def on_replica_actor_died(self, replica_id: Any) -> None:
        """Called by Serve before it hears of that from its controller."""
        super().on_replica_actor_died(replica_id)
        self._publish()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks; of a rank with several replicas Serve takes the one with the fewest requests."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        return ranked(candidate_replicas, pending_request.metadata.session_id)

    def _publish(self) -> None:
        ids = tuple(sorted(replica.unique_id for replica in self.curr_replicas))
        running.publish(self._deployment_id.app_name, self._deployment_id.name, ids)


def ranked(replicas: list[RunningReplica], wanted: str) -> list[list[RunningReplica]]:
    """The wanted replica alone, then the others together. Pure."""
    first = [replica for replica in replicas if replica.replica_id.unique_id == wanted]
    others = [replica for replica in replicas if replica.replica_id.unique_id != wanted]
    return [rank for rank in (first, others) if rank]
