"""The last replica: kept while it costs less than a cold start would."""

from autoscaling.config import Config


def floor(idle_s: float, start_s: float, attainment: float, config: Config) -> int:
    """0 once idling has cost as much as a restart and its late first request, if the promise is kept so far."""
    restart_s = start_s + config.late_price_s
    return 0 if idle_s >= restart_s and attainment >= config.target else 1
