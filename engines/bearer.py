"""The door of an engine's server: an ASGI layer that lets nobody past it without the token, but to `/health`.

The same for every engine, in whose environment it runs; so it needs the standard library only. vLLM loads it by
`--middleware`. The token comes from `ENGINE_TOKEN`: command lines can be read by every user of the machine.
"""

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OPEN_PATH = "/health"
VARIABLE = "ENGINE_TOKEN"
REFUSAL = json.dumps({"error": {"message": "Unauthorized", "type": "authentication_error", "code": 401}}).encode()
# RFC 6455: the connection breaks a rule of the server.
WEBSOCKET_POLICY_VIOLATION = 1008

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Bearer:
    """Guards every method of every path of `app`, WebSockets too, whatever is added to it later."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._authorization = f"Bearer {os.environ[VARIABLE]}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == OPEN_PATH or self._is_authorized(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": WEBSOCKET_POLICY_VIOLATION})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})

    def _is_authorized(self, scope: Message) -> bool:
        said = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(said) == 1 and hmac.compare_digest(said[0], self._authorization)
