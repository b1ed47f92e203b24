from typing import Any

import pytest

from deployments.gateway.errors import MethodNotAllowed, NotFound
from deployments.gateway.routes import Route, Routes


def handler(name: str) -> Any:
    """Answers with its name, and what the path named."""

    async def answer(exchange: Any, **names: str) -> Any:
        return name, names

    return answer


ROUTES = Routes(
    [
        Route("GET", "/models", handler("models")),
        Route("POST", "/models", handler("new model")),
        Route("GET", "/models/{name...}", handler("model")),
        Route("GET", "/keys/{key_id}", handler("key")),
        Route("POST", "/keys/{key_id}/rotate", handler("rotate")),
        Route("GET", "/keys/latest", handler("latest")),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/models", ("models", {})),
        ("POST", "/models", ("new model", {})),
        ("GET", "/models/vlmfleet/demo", ("model", {"name": "vlmfleet/demo"})),
        ("GET", "/models/", ("models", {})),
        ("HEAD", "/models", ("models", {})),
        ("GET", "/models/vlmfleet/demo/", ("model", {"name": "vlmfleet/demo"})),
        ("POST", "/keys/key_1/rotate/", ("rotate", {"key_id": "key_1"})),
        ("GET", "/models/a\nb", ("model", {"name": "a\nb"})),
        ("GET", "/keys/key_1", ("key", {"key_id": "key_1"})),
        ("POST", "/keys/key_1/rotate", ("rotate", {"key_id": "key_1"})),
        ("GET", "/keys/latest", ("latest", {})),
    ],
)
async def test_a_handler_is_found_by_path_and_method(method: str, path: str, found: tuple[str, dict[str, str]]):
    """A path without names comes before one that has some; a slash at the end is none."""
    assert await ROUTES.find(method, path)(None) == found


@pytest.mark.parametrize("path", ["", "/", "/model", "/keys/", "/keys/a/b", "/MODELS", "/keys/a\0b", "/models/a\0b"])
def test_a_path_that_is_not_there_is_not_found(path: str):
    """A name stands for one segment, and for a whole one."""
    with pytest.raises(NotFound):
        ROUTES.find("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/models", "GET, HEAD, POST"), ("GET", "/keys/a/rotate", "POST"), ("HEAD", "/keys/a/rotate", "POST")],
)
def test_a_method_that_is_not_there_is_told_which_are(method: str, path: str, allowed: str):
    """In the order of the table."""
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTES.find(method, path)
    assert refused.value.allowed == allowed
