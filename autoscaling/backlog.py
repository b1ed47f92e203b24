"""What is late already."""


def replicas(backlog_s: float, running: int, slack_s: float, drain_s: float) -> float:
    """So many more let the queue drain in `drain_s`. What running replicas begin in time needs nobody."""
    return max(backlog_s - slack_s * running, 0.0) / drain_s
