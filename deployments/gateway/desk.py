"""The ledger for those who ask and change things, and can wait a moment: every reply that is a refusal becomes an error."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from accounting.command import Command, Reply, Result
from accounting.questions import Listing, Question
from accounting.store import Place
from deployments.gateway.errors import BadRequest, Conflict, GatewayError, LedgerUnavailable, NothingOfThatName
from deployments.ledger.client import LedgerClient, NoAnswer
from deployments.log import logger_for

logger = logger_for(__name__)

ANSWER_S = 30.0

REFUSALS: dict[Result, Callable[[], GatewayError]] = {
    Result.EXISTS_WITH_DIFFERENT_CONTENT: partial(
        Conflict, "This ref was used before, with other content. Use a new ref for something new.", param="ref"
    ),
    Result.NO_SUCH_KEY: partial(NothingOfThatName, "key"),
    Result.NO_SUCH_BUDGET: partial(NothingOfThatName, "budget"),
    Result.NO_SUCH_HOLD: partial(NothingOfThatName, "charged request", param="request_id"),
    Result.ABOVE_THE_HOLD: partial(
        Conflict,
        "All refunds of a request together are at most its charge. GET /v1/generation shows it.",
        param="amount_usd",
    ),
    Result.UNAVAILABLE: LedgerUnavailable,
    Result.INVALID: partial(BadRequest, "The ledger cannot hold this: an amount, or a sum with it, is out of range."),
}

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


class Desk:
    """Commands and questions with an end to the waiting."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger

    async def ask(self, question: Question[A]) -> A:
        """What the ledger answers. Raises `LedgerUnavailable`."""
        return await self._answered(lambda: self._ledger.ask(question))

    @property
    def connections(self) -> int:
        """See `LedgerClient.connections`."""
        return self._ledger.connections

    async def pages(self, listing: Listing[R], after: Place = ()) -> AsyncIterator[list[R]]:
        """The same for a long answer, page by page."""
        if not self._ledger.connected:
            raise LedgerUnavailable
        try:
            async for rows in self._ledger.pages(listing, after):
                yield rows
        except NoAnswer as error:
            logger.warning("the ledger did not answer: %s", error)
            raise LedgerUnavailable from error

    async def rows(self, listing: Listing[R]) -> list[R]:
        """All rows of a long answer."""
        return [row async for page in self.pages(listing) for row in page]

    async def carry_out(self, command: Command) -> Reply:
        """The reply to a command that took effect, now or when it was sent before.

        Raises the error in `REFUSALS`, or `LedgerUnavailable`: then it may still take effect, so send it again.
        """
        reply = await self._answered(lambda: self._ledger.submit(command))
        if refusal := REFUSALS.get(reply.result):
            raise refusal()
        return reply

    async def _answered(self, send: Callable[[], Awaitable[T]]) -> T:
        if not self._ledger.connected:
            raise LedgerUnavailable
        try:
            return await asyncio.wait_for(send(), ANSWER_S)
        except (TimeoutError, NoAnswer) as error:
            logger.warning("the ledger did not answer: %s: %s", type(error).__name__, error)
            raise LedgerUnavailable from error
