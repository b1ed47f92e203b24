"""Who can own credit and budgets: an organisation or project with a key, or an organisation with an account.

A name that nobody uses is more likely a slip than somebody new: to bound or to pay nobody helps nobody, and is noticed late.
"""

from accounting.key import KeyRecord
from accounting.store import Balance
from deployments.gateway.desk import Desk
from deployments.gateway.errors import UnknownOwner


async def check_organisation(desk: Desk, org_id: str, *, param: str) -> None:
    """Raises `UnknownOwner` or `LedgerUnavailable`."""
    keys: list[KeyRecord] = await desk.ask("keys")
    if any(key.org_id == org_id for key in keys):
        return
    balances: list[Balance] = await desk.ask("balances")
    if all(balance.account != f"credit:{org_id}" for balance in balances):
        raise UnknownOwner("organisation", param=param)


async def check_project(desk: Desk, org_id: str, project_id: str, *, param: str) -> None:
    """Raises `UnknownOwner` or `LedgerUnavailable`."""
    keys: list[KeyRecord] = await desk.ask("keys")
    if all((key.org_id, key.project_id) != (org_id, project_id) for key in keys):
        raise UnknownOwner("project", param=param)
