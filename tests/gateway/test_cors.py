import pytest

from deployments.gateway.cors import PREFLIGHT, Origins

PAGE = "https://app.example.org"
EXPOSED = (b"access-control-expose-headers", b"*")
VARIES = (b"vary", b"origin")


@pytest.mark.parametrize(
    ("allowed", "origin", "headers"),
    [
        (("*",), PAGE, [(b"access-control-allow-origin", b"*"), EXPOSED]),
        (("*",), None, []),
        ((PAGE,), PAGE, [(b"access-control-allow-origin", PAGE.encode()), EXPOSED, VARIES]),
        ((PAGE,), "https://evil.example.org", [VARIES]),
        ((PAGE,), "null", [VARIES]),
        ((PAGE,), None, [VARIES]),
        ((), PAGE, [VARIES]),
    ],
)
def test_a_page_may_read_an_answer_if_its_origin_is_allowed(
    allowed: tuple[str, ...], origin: str | None, headers: list[tuple[bytes, bytes]]
):
    """An answer that is for one origin is not for the cache of another."""
    assert Origins(allowed).headers(origin) == headers


@pytest.mark.parametrize("allowed", [("*",), (PAGE,)])
def test_a_browsers_own_credentials_are_never_asked_for(allowed: tuple[str, ...]):
    """A key is in `Authorization`, which the star does not stand for."""
    names = {name for name, _ in [*PREFLIGHT, *Origins(allowed).headers(PAGE)]}
    assert b"access-control-allow-credentials" not in names
    assert dict(PREFLIGHT)[b"access-control-allow-headers"] == b"authorization, *"
