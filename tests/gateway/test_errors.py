from collections.abc import Iterator

import orjson
import pytest

from deployments.gateway.engine_refusal import ImageRefused
from deployments.gateway.errors import (
    AnswerNotKept,
    BadImage,
    BadRequest,
    BodyTooSlow,
    BudgetSpent,
    ChargeUnconfirmed,
    Conflict,
    ContextTooLong,
    EncodingNotTaken,
    EngineFailed,
    FilesUnavailable,
    FileTooLarge,
    GatewayError,
    GatewayStarting,
    IdempotencyKeyReused,
    InProgress,
    InvalidKey,
    LedgerUnavailable,
    MethodNotAllowed,
    ModelNotAllowed,
    ModelNotDeployed,
    ModelNotFound,
    ModelWarming,
    NotAllowed,
    NotFound,
    NothingOfThatName,
    OutOfCredit,
    Overloaded,
    PriceUnavailable,
    RateLimited,
    ScalingUnavailable,
    StorageFull,
    TooLarge,
    UnknownOwner,
)

INVALID = "invalid_request_error"
QUOTA = "insufficient_quota"
NOT_RETRIED = {b"x-should-retry": b"false"}
# OpenAI's SDKs give up on a longer Retry-After.
RETRY_AFTER_S_MAX = 120

TABLE = [
    (BadRequest("No.", param="n"), 400, INVALID, None, {}),
    (BadImage("image_too_large", "No."), 400, INVALID, "image_too_large", {}),
    (ImageRefused("No.", code="image_parse_error"), 400, INVALID, "image_parse_error", {}),
    (ContextTooLong(2048), 400, INVALID, "context_length_exceeded", {}),
    (IdempotencyKeyReused(), 400, INVALID, "idempotency_key_reuse", {}),
    (InvalidKey(), 401, INVALID, "invalid_api_key", {}),
    (NotAllowed("manage"), 403, "permission_error", "scope_not_allowed", {}),
    (ModelNotAllowed(), 403, "permission_error", "model_not_allowed", {}),
    (NotFound(), 404, INVALID, None, {}),
    (ModelNotFound(), 404, INVALID, "model_not_found", {}),
    (ModelNotDeployed(), 404, INVALID, "model_not_found", {}),
    (NothingOfThatName("key"), 404, INVALID, None, {}),
    (UnknownOwner("project", param="project_id"), 404, INVALID, None, {}),
    (MethodNotAllowed("GET"), 405, INVALID, None, {b"allow": b"GET"}),
    (InProgress(), 409, INVALID, "idempotency_in_progress", {b"retry-after": b"1"}),
    (Conflict("No."), 409, INVALID, None, NOT_RETRIED),
    (BodyTooSlow(), 408, INVALID, "request_timeout", {}),
    (TooLarge(9), 413, INVALID, "request_too_large", {}),
    (EncodingNotTaken(), 415, INVALID, "unsupported_content_encoding", {b"accept-encoding": b"gzip, deflate"}),
    (OutOfCredit(), 429, QUOTA, "credit_balance_exhausted", NOT_RETRIED),
    (BudgetSpent("key"), 429, QUOTA, "key_spend_limit_exceeded", NOT_RETRIED),
    (BudgetSpent("project"), 429, QUOTA, "project_spend_limit_exceeded", NOT_RETRIED),
    (BudgetSpent("organization"), 429, QUOTA, "organization_spend_limit_exceeded", NOT_RETRIED),
    (AnswerNotKept(), 409, INVALID, "idempotency_answer_not_kept", NOT_RETRIED),
    (StorageFull(), 429, QUOTA, "storage_quota_exceeded", NOT_RETRIED),
    (
        RateLimited("images_per_minute", 20_001),
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        {b"retry-after": b"21", b"retry-after-ms": b"20001"},
    ),
    (EngineFailed(), 500, "server_error", "server_error", {}),
    (ModelWarming(), 503, "server_error", "model_warming", {b"retry-after": b"5"}),
    (Overloaded(), 503, "server_error", "overloaded", {b"retry-after": b"1"}),
    (LedgerUnavailable(), 503, "server_error", "ledger_unavailable", {b"retry-after": b"1"}),
    (ChargeUnconfirmed(), 503, "server_error", "charge_unconfirmed", {b"retry-after": b"1"}),
    (PriceUnavailable(), 503, "server_error", "price_unavailable", {b"retry-after": b"1", b"x-should-retry": b"false"}),
    (GatewayStarting(), 503, "server_error", "overloaded", {b"retry-after": b"1"}),
    (FilesUnavailable(), 503, "server_error", "files_unavailable", {b"retry-after": b"1"}),
    (
        ScalingUnavailable(),
        503,
        "server_error",
        "scaling_unavailable",
        {b"retry-after": b"1", b"x-should-retry": b"false"},
    ),
    (FileTooLarge(1), 413, INVALID, "file_too_large", {}),
]


def leaves(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    below = error.__subclasses__()
    if not below:
        yield error
    for kind in below:
        yield from leaves(kind)


@pytest.mark.parametrize(("error", "status", "kind", "code", "headers"), TABLE, ids=lambda value: type(value).__name__)
def test_each_error_has_its_status_type_code_and_headers(
    error: GatewayError, status: int, kind: str, code: str | None, headers: dict[bytes, bytes]
):
    """What a client decides by is the same for every request that fails in one way."""
    assert (error.status, error.type, error.code) == (status, kind, code)
    assert dict(error.headers()) == headers


def test_the_table_is_the_tree():
    """Every error that can be raised is in the table above."""
    assert set(leaves(GatewayError)) <= {type(error) for error, *_ in TABLE}


@pytest.mark.parametrize("error", [error for error, *_ in TABLE], ids=lambda error: type(error).__name__)
def test_a_body_always_has_all_four_fields(error: GatewayError):
    """OpenAI's clients read message, type, param and code; what does not apply is null."""
    body = orjson.loads(error.encoded())
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"].endswith((".", "'."))


@pytest.mark.parametrize(
    "error",
    [error for error, *_ in TABLE if error.status == 503 or isinstance(error, InProgress | RateLimited)],
    ids=lambda error: str(error.code),
)
def test_what_passes_by_itself_says_when_to_come_back(error: GatewayError):
    """Within the time that OpenAI's SDKs are willing to wait."""
    assert 0 < int(dict(error.headers())[b"retry-after"]) <= RETRY_AFTER_S_MAX
