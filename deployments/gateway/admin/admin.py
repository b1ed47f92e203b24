"""The desk where operators come: asks for their key, then sends them on."""

from collections.abc import Callable, Iterator
from functools import partial

from accounting.key import Scope
from catalog import Catalog
from deployments.gateway.admin.budgets import Budgets
from deployments.gateway.admin.call import Answer, Call, Department
from deployments.gateway.admin.credit import Credit
from deployments.gateway.admin.keys import KeyAdmin
from deployments.gateway.admin.reports import Reports
from deployments.gateway.admin.scaling import Explain, Scaling, nobody
from deployments.gateway.asgi import Exchange
from deployments.gateway.desk import Desk
from deployments.gateway.keys import Keys
from deployments.gateway.routes import Route

PATH = "/v1/admin"
BODY_BYTES_MAX = 64 * 2**10
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Admin:
    """For keys with the scope `manage`. What is written lands in the audit log, with the key's id."""

    def __init__(
        self, desk: Desk, keys: Keys, catalog: Catalog, now_ms: Callable[[], int], explain: Explain = nobody
    ) -> None:
        self._keys = keys
        self._departments: tuple[Department, ...] = (
            KeyAdmin(desk, keys, catalog, now_ms),
            Budgets(desk, keys),
            Credit(desk, keys),
            Reports(desk, now_ms),
            Scaling(explain),
        )

    def routes(self) -> Iterator[Route]:
        for department in self._departments:
            for method, path, answer in department.calls():
                yield Route(method, PATH + path, partial(self._answer, answer))

    async def _answer(self, answer: Answer, exchange: Exchange, **names: str) -> None:
        by = self._keys.authenticate(exchange.header("authorization"), Scope.MANAGE)
        body = await exchange.body(BODY_BYTES_MAX) if exchange.method in METHODS_WITH_BODY else b""
        await exchange.answer_json(await answer(Call(by, exchange.query, body), **names))
