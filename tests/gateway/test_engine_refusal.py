"""An engine's error, told to the caller: the field at fault by its name here, and nothing of the engine's words."""

import logging

import orjson
import pytest

from deployments.gateway.engine_refusal import ImageRefused, refusal, refused_field
from deployments.gateway.errors import BadRequest, ContextTooLong

ASKED = ("model", "messages", "max_tokens", "stop", "response_format", "min_tokens", "stop_token_ids", "logit_bias")


def refused(status: int, message: str, param: str | None = None) -> BadRequest | None:
    answer = orjson.dumps({"error": {"message": message, "param": param}})
    error = refusal(status, answer, orjson.dumps(dict.fromkeys(ASKED, 1)), 2048)
    assert error is None or isinstance(error, BadRequest)
    return error


@pytest.mark.parametrize(
    ("param", "message", "field"),
    [
        # vLLM's own, then our servers'.
        ("body.stop", "1 validation error: stop cannot contain an empty string.", "stop"),
        ("stop", "stop cannot contain an empty string", "stop"),
        (None, "min_tokens must be less than or equal to max_tokens=16, got 17.", "min_tokens"),
        ("response_format", "unsupported schema: Unsupported type", "response_format"),
        ("structured_outputs", "Grammar error", "response_format"),
        (None, "The provided JSON schema contains features not supported by xgrammar.", "response_format"),
        (None, "token_id(s) [999999] in logit_bias contain out-of-vocab token ids.", "logit_bias"),
        ("max_tokens", "max_tokens must be at least 1, got 0.", "max_completion_tokens"),
        ("body.messages.0.user.content", "Input should be a valid string", "messages"),
        (None, "This model does not know this", "messages"),
        (None, "", "messages"),
    ],
)
def test_the_field_at_fault_is_named_as_here(param: str | None, message: str, field: str):
    """By the engine's own name for it, else by the words of its message."""
    assert refused_field(param, message.lower(), frozenset(ASKED)) == field
    error = refused(400, message, param)
    assert error is not None
    assert (error.status, error.param) == (400, field)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_nothing_of_the_engines_words_is_told(status: int, caplog: pytest.LogCaptureFixture):
    """They may repeat the input; the log says why."""
    with caplog.at_level(logging.WARNING):
        error = refused(status, "stop: SECRET")
    assert error is not None
    assert "SECRET" not in error.message
    assert "SECRET" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 501])
def test_what_is_no_fault_of_the_caller_is_no_refusal(status: int):
    assert refused(status, "EngineCore encountered an issue") is None


def test_what_a_gateway_acts_upon_is_known_by_its_words():
    """A prompt that is too long, a picture that cannot be read."""
    assert isinstance(refused(400, "This model's maximum context length is 2048 tokens."), ContextTooLong)
    assert isinstance(refused(400, "Failed to load image: SECRET"), ImageRefused)


@pytest.mark.parametrize("answer", [b"", b"no JSON", b"[]", b'{"error": "words"}', b'{"error": null}', b"null"])
def test_an_error_of_any_shape_is_one(answer: bytes):
    error = refusal(400, answer, b'{"model": "m", "messages": []}', 2048)
    assert error is not None
    assert error.param == "messages"
