"""`/v1/admin/*`: keys, budgets, credit and reports, for keys with the scope `manage`."""

from deployments.gateway.admin.admin import Admin

__all__ = ["Admin"]
