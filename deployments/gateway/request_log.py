"""One line in the log for each request: who asked for what, how it ended, how long it took. Never what was sent, or a key.

The fields are columns of their own where Serve's `logging_config` says `encoding: JSON`.
"""

from deployments.gateway.asgi import Exchange
from deployments.gateway.bill import Bill
from deployments.gateway.errors import GatewayError
from deployments.log import logger_for

logger = logger_for(__name__)

# Asked for by machines every few seconds.
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def note(exchange: Exchange, bill: Bill) -> None:
    """What the line is to say of an admitted request."""
    exchange.notes |= {
        "vlm_request_id": bill.request_id,
        "model": bill.price.model,
        "tier": bill.tier,
        "outcome": str(bill.outcome),
        "replica_id": bill.replica_id,
    }


def log(exchange: Exchange, error: GatewayError | None) -> None:
    """The request has ended; `error` is what the caller was told instead of an answer."""
    if exchange.path in QUIET and error is None:
        return
    fields = {
        "method": exchange.method,
        "path": ascii(exchange.path)[1:-1],  # the caller's words: no line of its own may come of them
        "status": exchange.status,
        "latency_ms": round(1000 * exchange.elapsed_s()),
        "error": error and (error.code or error.type),
        **exchange.notes,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    logger.info(" ".join(f"{name}={value}" for name, value in told.items()), extra=told)
