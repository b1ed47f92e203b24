"""Every way in which a request can fail, and what the caller is told. One tree, one place that makes the body.

    GatewayError
      BadRequest                 400  something in the request; `param` names it
        BadImage                 400  an image; `code` says what is wrong with it
        ContextTooLong           400  prompt and answer do not fit the model
        IdempotencyKeyReused     400  the key was sent before, with another body
      InvalidKey                 401  no key, or one that does not work
      NotAllowed                 403  the key works, but not for this
        ModelNotAllowed          403  nor for this model
      NotFound                   404  no such endpoint
      ModelNotFound              404
        ModelNotDeployed         404  it is in the catalog, and not served here
      NothingOfThatName          404  what is asked for or about is not there
        UnknownOwner             404  an organisation or project that nothing is known of yet
      MethodNotAllowed           405
      BodyTooSlow                408  the body came too slowly
      InProgress                 409  the same request runs already; asked again after `retry_after_s`, it is answered
      Conflict                   409  not in the state that things are in; not retried: waiting does not help
        AnswerNotKept            409  of the request of an Idempotency-Key: it was too long
      TooLarge                   413  the body
        FileTooLarge             413  a file of `/v1/files`
      EncodingNotTaken           415  the body is compressed in a way that is not taken
      OutOfCredit, BudgetSpent, StorageFull
                                 429  not retried: waiting does not help
      RateLimited                429  try again after `retry_after_s`
      EngineFailed               500  the engine broke off
      Unavailable                503  try again after `retry_after_s`: ModelWarming, Overloaded,
                                      PriceUnavailable (not retried), GatewayStarting, LedgerUnavailable,
                                      ChargeUnconfirmed (the answer is there, but must not leave),
                                      FilesUnavailable, ScalingUnavailable (not retried)

No message repeats the caller's input, and none carries a stack trace.
"""

from typing import Any, ClassVar

import orjson


class GatewayError(Exception):
    """An answer other than the one that was asked for. The message says what the caller can do."""

    status: ClassVar[int]
    type: ClassVar[str] = "invalid_request_error"
    retry_after_s: int | None = None
    # False where a retry cannot help: OpenAI's SDKs would otherwise retry by the status alone.
    should_retry: ClassVar[bool | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The error in OpenAI's shape: always all four fields."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def encoded(self) -> bytes:
        return orjson.dumps(self.body())

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = []
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.should_retry is not None:
            headers.append((b"x-should-retry", str(self.should_retry).lower().encode()))
        return headers


class BadRequest(GatewayError):
    status = 400


class BadImage(BadRequest):
    """`code` is one of OpenAI's image codes, see `docs/errors.md`."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param, code=code)


class ContextTooLong(BadRequest):
    def __init__(self, context_tokens: int) -> None:
        super().__init__(
            f"The prompt and the answer that was asked for do not fit the model's context of {context_tokens} tokens. "
            "Send less text, fewer or smaller images, or lower max_completion_tokens.",
            param="messages",
            code="context_length_exceeded",
        )


class IdempotencyKeyReused(BadRequest):
    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was sent before with another body. Use a new key for a new request.",
            param="Idempotency-Key",
            code="idempotency_key_reuse",
        )


class InvalidKey(GatewayError):
    """Missing, malformed, unknown, expired and revoked keys are told the same."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "No working API key was given. Send one as 'Authorization: Bearer sk-vlm-...'.", code="invalid_api_key"
        )


class NotAllowed(GatewayError):
    status = 403
    type = "permission_error"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This key does not have the scope '{scope}'. Use one that has.", code="scope_not_allowed")


class ModelNotAllowed(NotAllowed):
    def __init__(self) -> None:
        GatewayError.__init__(
            self, "This key may not use this model. GET /v1/models lists those it may.",
            param="model", code="model_not_allowed",
        )  # fmt: skip


class NotFound(GatewayError):
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such endpoint. GET /v1/models and POST /v1/chat/completions are the main ones.")


class ModelNotFound(GatewayError):
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "No model of that name is served here. GET /v1/models lists them.", param="model", code="model_not_found"
        )


class ModelNotDeployed(ModelNotFound):
    def __init__(self) -> None:
        GatewayError.__init__(
            self,
            "This model is in the catalog, but not deployed here. Ask the operator to add it to the Serve config, as "
            "docs/catalog.md says; GET /v1/models lists those that are deployed.",
            param="model",
            code="model_not_found",
        )


class NothingOfThatName(GatewayError):
    """`what`: "key", "budget", ..."""

    status = 404

    def __init__(self, what: str, *, param: str | None = None) -> None:
        super().__init__(f"There is no {what} of that name here. Check its name.", param=param)


class UnknownOwner(NothingOfThatName):
    """`what`: "organisation" or "project"."""

    def __init__(self, what: str, *, param: str) -> None:
        GatewayError.__init__(
            self,
            f"No key is of this {what}. Check its name; if it is new, send 'create': true, or --create on the command line.",
            param=param,
        )


class MethodNotAllowed(GatewayError):
    status = 405

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This endpoint answers {allowed} only.")
        self.allowed = allowed

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"allow", self.allowed.encode())]


class BodyTooSlow(GatewayError):
    status = 408

    def __init__(self) -> None:
        super().__init__(
            "The body came too slowly, or stopped. Send it again over a better connection, or smaller images.",
            code="request_timeout",
        )


class TooLarge(GatewayError):
    status = 413

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"The body is above {bytes_max} bytes. Send smaller or fewer images.", code="request_too_large"
        )


class FileTooLarge(TooLarge):
    def __init__(self, bytes_max: int) -> None:
        GatewayError.__init__(
            self, f"The file is above {bytes_max} bytes. Split it.", param="file", code="file_too_large"
        )


class EncodingNotTaken(GatewayError):
    status = 415

    def __init__(self) -> None:
        super().__init__(
            "A body is taken plain, or compressed by gzip or deflate; a form only plain.",
            param="Content-Encoding",
            code="unsupported_content_encoding",
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"accept-encoding", b"gzip, deflate")]


class OutOfCredit(GatewayError):
    status = 429
    type = "insufficient_quota"
    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "The organisation's credit does not cover this request. Ask the operator for more.",
            code="credit_balance_exhausted",
        )


class BudgetSpent(GatewayError):
    """`whose`: key, project or organization."""

    status = 429
    type = "insufficient_quota"
    should_retry = False

    def __init__(self, whose: str) -> None:
        super().__init__(
            f"The budget of this {whose} does not cover this request. Ask the operator to raise it, or wait for its next "
            "period.",
            code=f"{whose}_spend_limit_exceeded",
        )


class StorageFull(GatewayError):
    status = 429
    type = "insufficient_quota"
    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "The files of this project take all the room that they may take. Delete some, or ask the operator for more.",
            param="file",
            code="storage_quota_exceeded",
        )


class RateLimited(GatewayError):
    """`limit` is the name of the limit that was reached."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, limit: str, retry_after_ms: int) -> None:
        super().__init__(
            f"This key has reached its limit '{limit}'. Try again after Retry-After.",
            param=limit,
            code="rate_limit_exceeded",
        )
        self.retry_after_ms = retry_after_ms
        self.retry_after_s = -(-retry_after_ms // 1000)

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), (b"retry-after-ms", str(self.retry_after_ms).encode())]


class InProgress(GatewayError):
    status = 409
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__(
            "The same request is being answered already. Try again after Retry-After.", code="idempotency_in_progress"
        )


class Conflict(GatewayError):
    status = 409
    should_retry = False


class AnswerNotKept(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "The request of this Idempotency-Key was answered and charged, and its answer was too long to be kept. Use a new "
            "key for a new answer, and ask for less text.",
            param="Idempotency-Key",
            code="idempotency_answer_not_kept",
        )


class EngineFailed(GatewayError):
    status = 500
    type = "server_error"

    def __init__(self) -> None:
        super().__init__("The engine broke off. Nothing was charged; send the request again.", code="server_error")


class Unavailable(GatewayError):
    status = 503
    type = "server_error"
    retry_after_s = 1


class ModelWarming(Unavailable):
    retry_after_s = 5

    def __init__(self, retry_after_s: int = 5) -> None:
        super().__init__(
            "The model is starting. Try again after Retry-After, or send 'Prefer: wait=N' to wait for it N seconds.",
            code="model_warming",
        )
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__("All of the model's replicas are busy. Try again after Retry-After.", code="overloaded")
        self.retry_after_s = retry_after_s


class PriceUnavailable(Unavailable):
    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "The model has no price here, so it is not run. Ask the operator to publish one.", code="price_unavailable"
        )


class GatewayStarting(Unavailable):
    def __init__(self) -> None:
        super().__init__("The gateway is starting. Try again after Retry-After.", code="overloaded")


class LedgerUnavailable(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "Accounting is not reachable, so nothing can be charged or run. Try again after Retry-After.",
            code="ledger_unavailable",
        )


class ChargeUnconfirmed(Unavailable):
    """Of an answer that is there and must not leave."""

    def __init__(self) -> None:
        super().__init__(
            "The answer is there, but accounting has not confirmed its charge in time, so it is withheld. With an "
            "Idempotency-Key, send the request again with the same one, and you get this answer; without, it is not charged.",
            code="charge_unconfirmed",
        )


class ScalingUnavailable(Unavailable):
    should_retry = False

    def __init__(self) -> None:
        super().__init__(
            "Nothing answers for autoscaling. Deploy the application 'scaling', or look at its state in Serve.",
            code="scaling_unavailable",
        )


class FilesUnavailable(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "Files and batches cannot be read or written. Try again after Retry-After.", code="files_unavailable"
        )
