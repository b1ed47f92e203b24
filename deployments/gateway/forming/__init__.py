"""Batch forming: which request goes to a model's engines next, how much is with them at once, and what is refused."""

from deployments.gateway.forming.demand import Demand, demand_of
from deployments.gateway.forming.former import Former, Load, Turn
from deployments.gateway.forming.forming import Forming

__all__ = ["Demand", "Former", "Forming", "Load", "Turn", "demand_of"]
