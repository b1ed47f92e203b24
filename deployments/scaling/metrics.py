"""What the governor tells of its decisions."""

from autoscaling.row import Row
from deployments.metric import Instruments, Metric

WANTED = Metric("vlmfleet_replicas_wanted", "gauge", ("model",), "Replicas that a model asks for.")
GRANTED = Metric("vlmfleet_replicas_granted", "gauge", ("model",), "Replicas that a model may have.")
TABLE = (WANTED, GRANTED)


def tell(row: Row, instruments: Instruments) -> None:
    """Set a model's gauges to its latest decision."""
    instruments.set(WANTED, row.answer.want, row.model)
    instruments.set(GRANTED, row.answer.replicas, row.model)
