"""A client's life, and what it saw of its answers: the witness against the ledger."""

import asyncio
import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import orjson
from PIL import Image

from torture.plan import Client, Habit

OUTPUT_TOKENS = 6
# As openai-python: two retries, of these answers and of broken connections.
RETRIES_MAX = 2
RETRIED = frozenset({408, 409, 429})
RETURNS_MAX = 6
PAUSE_S = 0.15
# Longer than any gate of the gateway holds an answer back.
PATIENCE_S = 25.0
EVENT = b"data: "
DONE = EVENT + b"[DONE]"


@dataclass(slots=True)
class Try:
    """What one request brought. `status` None: not even a status line. `final`: there is no use in trying again.
    `finish`: why the answer ended, by its own words. `told_nano`: the charge as the answer gives it.
    """

    status: int | None = None
    final: bool = False
    request_id: str | None = None
    chunks: int = 0
    whole: bool = False
    left: bool = False
    finish: str | None = None
    told_nano: int | None = None

    @property
    def tokens(self) -> int:
        """How many it saw: the first chunk of a stream has none."""
        return max(0, self.chunks - 1)

    @property
    def worth_a_retry(self) -> bool:
        """To an SDK: nothing of an answer was handed on yet, and it may go better."""
        broken = self.status is None or (self.status == 200 and not self.chunks)
        return not self.whole and not self.final and (broken or self.status in RETRIED or (self.status or 0) >= 500)


@dataclass(slots=True)
class Witness:
    """A client and everything it saw, in order."""

    client: Client
    tries: list[Try] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        return any(seen.whole for seen in self.tries)

    @property
    def refused(self) -> bool:
        """Whether the last word was that there is no room."""
        return bool(self.tries) and self.tries[-1].final and self.tries[-1].status == 429


class Desk:
    """Where clients ask: the gateways at `urls`, in turn, as behind a load balancer."""

    def __init__(self, http: aiohttp.ClientSession, urls: Sequence[str], key: str, model: str) -> None:
        self._http = http
        self._urls = urls
        self._key = key
        self._model = model
        self._image = image_url()

    async def serve(self, client: Client, turn: int) -> Witness:
        """Live the client's life, from the gateway whose turn it is."""
        witness = Witness(client)
        await asyncio.sleep(client.starts_after_s)
        match client.habit:
            case Habit.WAITS | Habit.LEAVES:
                witness.tries.append(await self.ask(client, turn, client.patience_s))
            case Habit.RETRIES:
                await self._retry(witness, turn)
            case Habit.RETURNS:
                await self.come_back(witness, turn, RETURNS_MAX)
        return witness

    async def come_back(self, witness: Witness, turn: int, times_max: int) -> None:
        """Ask with the client's own Idempotency-Key until there is a whole answer, or no room for one."""
        for _ in range(times_max):
            client = replace(witness.client, leaves_after=None) if witness.tries else witness.client
            witness.tries.append(await self.ask(client, turn, None, {"idempotency-key": client.name}))
            if witness.answered or witness.refused:
                return
            turn += 1
            await asyncio.sleep(PAUSE_S)

    async def ask(
        self, client: Client, turn: int, patience_s: float | None, headers: dict[str, str] | None = None
    ) -> Try:
        """Send the client's request once, to the gateway whose turn it is."""
        seen = Try()
        url = self._urls[turn % len(self._urls)] + "/v1/chat/completions"
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(patience_s or PATIENCE_S),
                self._http.post(url, data=self._body(client), headers=headers) as response,
            ):
                seen.status, seen.request_id = response.status, response.headers.get("x-vlm-request-id")
                seen.final = response.headers.get("x-should-retry") == "false"
                if response.status == 200:
                    await (_read_stream(response, client, seen) if client.streams else _read_whole(response, seen))
        except TimeoutError:
            seen.left = True
        except aiohttp.ClientError:
            pass  # what was seen before is in `seen`
        return seen

    async def _retry(self, witness: Witness, turn: int) -> None:
        client = witness.client
        for retry in range(1 + RETRIES_MAX):
            headers = {"x-stainless-retry-count": str(retry)}
            patience_s = client.patience_s if retry == 0 else None
            witness.tries.append(await self.ask(client, turn + retry, patience_s, headers))
            if not witness.tries[-1].worth_a_retry:
                return
            await asyncio.sleep(PAUSE_S * retry)

    def _body(self, client: Client) -> bytes:
        content = [{"type": "image_url", "image_url": {"url": self._image}}, {"type": "text", "text": "What is it?"}]
        body: dict[str, Any] = {
            "model": self._model,
            "user": client.name,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": OUTPUT_TOKENS,
        }
        return orjson.dumps(
            body | ({"stream": True, "stream_options": {"include_usage": True}} if client.streams else {})
        )


async def _read_whole(response: aiohttp.ClientResponse, seen: Try) -> None:
    answer = orjson.loads(await response.read())
    seen.told_nano = _told(answer)
    seen.finish = answer["choices"][0]["finish_reason"]
    seen.whole = True


async def _read_stream(response: aiohttp.ClientResponse, client: Client, seen: Try) -> None:
    async for line in response.content:
        if line.startswith(DONE):
            seen.whole = True
            return
        if not line.startswith(EVENT):
            continue
        chunk = orjson.loads(line.removeprefix(EVENT))
        if "error" in chunk:
            return
        if chunk["choices"]:
            seen.chunks += 1
            seen.finish = chunk["choices"][0]["finish_reason"]
        else:
            seen.told_nano = _told(chunk)
        if seen.chunks == client.leaves_after:
            seen.left = True
            response.close()
            return


def _told(answer: dict[str, Any]) -> int:
    charged_nano: int = answer["usage"]["cost_details"]["charged_nano"]
    return charged_nano


def image_url() -> str:
    """The picture that everyone asks about."""
    file = io.BytesIO()
    Image.new("RGB", (112, 112), "red").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
