"""The fleet's API, over HTTP."""

from pathlib import Path
from typing import Any

import httpx

from cli.failed import Failed
from deployments.launch import HOST, port, state_folder

TIMEOUT_S = 120.0


class Server:
    """`url` and `key` are as given on the command line, None for their defaults."""

    def __init__(self, url: str | None, key: str | None) -> None:
        self._url = (url or f"http://{HOST}:{port()}").rstrip("/")
        self._key = key or _admin_key(state_folder() / "admin-key")

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """Raises `Failed`, as all of these do."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, fields: dict[str, Any]) -> Any:
        return self._ask("POST", path, json=fields)

    def put(self, path: str, fields: dict[str, Any]) -> Any:
        return self._ask("PUT", path, json=fields)

    def patch(self, path: str, fields: dict[str, Any]) -> Any:
        return self._ask("PATCH", path, json=fields)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def read(self, path: str) -> str:
        """What is no JSON."""
        return _accepted(self.look(path)).text

    def look(self, path: str) -> httpx.Response:
        """Whatever its status is. Raises `Failed` only if nothing answers."""
        return self._send("GET", path)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        return _accepted(self._send(method, path, **content)).json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            return httpx.request(method, self._url + path, headers=headers, timeout=TIMEOUT_S, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(
                f"nothing answers at {self._url}; start vlmfleet with: make up; or name another with --url"
            ) from error


def given(**fields: Any) -> dict[str, Any]:
    """Those that were given on the command line."""
    return {name: value for name, value in fields.items() if value is not None}


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise Failed(_refusal(response))


def _refusal(response: httpx.Response) -> str:
    """What the server says, in one line."""
    try:
        message: str = response.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return f"the server answered with status {response.status_code}, and no reason; is it a vlmfleet?"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return "the server does not know this key; give another with --key or VLMFLEET_ADMIN_KEY"
    return message


def _admin_key(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Failed(f"there is no key in {file}; give one with --key or VLMFLEET_ADMIN_KEY") from error
