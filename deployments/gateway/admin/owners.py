"""Who can own credit and budgets: an organisation or project with a key, or an organisation with an account.

A name that nobody uses is more likely a slip than somebody new: to bound or to pay nobody helps nobody, and is noticed late.
"""

from accounting import questions
from deployments.gateway.desk import Desk
from deployments.gateway.errors import UnknownOwner
from deployments.gateway.keys import Keys


async def check_organisation(desk: Desk, keys: Keys, org_id: str, *, param: str) -> None:
    """Raises `UnknownOwner` or `LedgerUnavailable`."""
    await keys.refresh(desk)
    if any(key.org_id == org_id for key in keys.all()):
        return
    balances = await desk.rows(questions.Balances())
    if all(balance.account != f"credit:{org_id}" for balance in balances):
        raise UnknownOwner("organisation", param=param)


async def check_project(desk: Desk, keys: Keys, org_id: str, project_id: str, *, param: str) -> None:
    """Raises `UnknownOwner` or `LedgerUnavailable`."""
    await keys.refresh(desk)
    if all((key.org_id, key.project_id) != (org_id, project_id) for key in keys.all()):
        raise UnknownOwner("project", param=param)
