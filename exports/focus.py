"""Charges in the columns of FOCUS, the FinOps Open Cost and Usage Specification, version 1.3. Pure.

A row is one charge or refund; `x_` columns are our own. What FOCUS asks for and is not here does not apply: no negotiated
prices, commitments, capacity reservations, regions, invoices or second currency. A card may price text and output tokens
beside units, so one unit price does not give the cost: there is no ListUnitPrice; SkuPriceId leads to the price.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from accounting.money import NANO_USD
from accounting.price import output_units
from exports.charge import REFUND, Charge
from exports.table import COUNT, DECIMAL, TEXT, TIME, Column

VERSION = "1.3"
PROVIDER = "vlmfleet"
HOUR = timedelta(hours=1)


def _cost(charge: Charge) -> Decimal:
    """Dollars, exactly: there is one price, so billed, effective, list and contracted cost are the same."""
    return Decimal(charge.amount_nano) / NANO_USD


def _booked(charge: Charge) -> datetime:
    return _at(charge.at_ms)


def _charged(charge: Charge) -> datetime:
    """The hour in which the request ended; for a refund that of the charge it gives back."""
    ended = _at(charge.request["closed_at_ms"])
    return ended.replace(minute=0, second=0, microsecond=0)


def _month(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(at: datetime) -> datetime:
    return _month(_month(at) + timedelta(days=31))


def _class(charge: Charge) -> str | None:
    """A refund corrects what may have been invoiced if its charge was booked in an earlier month."""
    return "Correction" if _month(_charged(charge)) < _month(_booked(charge)) else None


def _description(charge: Charge) -> str:
    request = charge.request
    what = f"{request['model']}, {request['images']} images, {request['output_tokens']} output tokens"
    return f"Refund {charge.ref}: {what}" if charge.kind == REFUND else what


def _sku(charge: Charge) -> str:
    return f"{charge.request['model']}@{charge.request['price_version']}"


def _units(charge: Charge) -> int:
    """What the price multiplies; never more than was held."""
    held: dict[str, Any] = json.loads(charge.request["units"])
    images, output = sum(held["images"]), min(held["output"], output_units(charge.request["output_tokens"]))
    return max(1, int(images + output))


def _once(quantity: int, charge: Charge) -> Decimal:
    """A quantity of the request counts with its charge; a refund gives back money alone."""
    return Decimal(0 if charge.kind == REFUND else quantity)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def _always(value: str | None) -> Callable[[Charge], str | None]:
    return lambda charge: value


def _of_request(name: str) -> Callable[[Charge], Any]:
    return lambda charge: charge.request[name]


COLUMNS: tuple[Column[Charge], ...] = (
    Column("BilledCost", DECIMAL, _cost),
    Column("BillingAccountId", TEXT, _of_request("org_id")),
    Column("BillingAccountName", TEXT, _always(None)),
    Column("BillingAccountType", TEXT, _always("Organization")),
    Column("BillingCurrency", TEXT, _always("USD")),
    Column("BillingPeriodEnd", TIME, lambda charge: _next_month(_booked(charge))),
    Column("BillingPeriodStart", TIME, lambda charge: _month(_booked(charge))),
    Column("ChargeCategory", TEXT, _always("Usage")),
    Column("ChargeClass", TEXT, _class),
    Column("ChargeDescription", TEXT, _description),
    Column("ChargeFrequency", TEXT, _always("Usage-Based")),
    Column("ChargePeriodEnd", TIME, lambda charge: _charged(charge) + HOUR),
    Column("ChargePeriodStart", TIME, _charged),
    Column("ConsumedQuantity", DECIMAL, lambda charge: _once(charge.request["images"], charge)),
    Column("ConsumedUnit", TEXT, _always("Images")),
    Column("ContractedCost", DECIMAL, _cost),
    Column("EffectiveCost", DECIMAL, _cost),
    Column("HostProviderName", TEXT, _always(PROVIDER)),
    Column("InvoiceIssuerName", TEXT, _always(PROVIDER)),
    Column("ListCost", DECIMAL, _cost),
    Column("PricingCategory", TEXT, _always("Standard")),
    Column("PricingQuantity", DECIMAL, lambda charge: _once(_units(charge), charge)),
    Column("PricingUnit", TEXT, _always("Units")),
    Column("ProviderName", TEXT, _always(PROVIDER)),  # until 1.2; mandatory still
    Column("PublisherName", TEXT, _always(PROVIDER)),  # likewise
    Column("ResourceId", TEXT, _of_request("request_id")),
    Column("ResourceName", TEXT, _always(None)),
    Column("ResourceType", TEXT, _always("Request")),
    Column("ServiceCategory", TEXT, _always("AI and Machine Learning")),
    Column("ServiceName", TEXT, _always(PROVIDER)),
    Column("ServiceProviderName", TEXT, _always(PROVIDER)),
    Column("SkuId", TEXT, _sku),
    Column("SkuPriceId", TEXT, lambda charge: f"{_sku(charge)}:{charge.request['tier']}"),
    Column("SubAccountId", TEXT, _of_request("project_id")),
    Column("SubAccountName", TEXT, _always(None)),
    Column("SubAccountType", TEXT, _always("Project")),
    Column("Tags", TEXT, _of_request("metadata")),
    Column("x_BookedAt", TIME, _booked),
    Column("x_CachedTokens", COUNT, _of_request("cached_tokens")),
    Column("x_KeyId", TEXT, _of_request("key_id")),
    Column("x_LatencyMs", COUNT, _of_request("latency_ms")),
    Column("x_LedgerKind", TEXT, lambda charge: charge.kind),
    Column("x_LedgerRef", TEXT, lambda charge: charge.ref),
    Column("x_LedgerSeq", COUNT, lambda charge: charge.seq),
    Column("x_Outcome", TEXT, _of_request("outcome")),
    Column("x_OutputTokens", COUNT, _of_request("output_tokens")),
    Column("x_TextTokens", COUNT, _of_request("text_tokens")),
    Column("x_UserId", TEXT, _of_request("user_id")),
    Column("x_VisionTokens", COUNT, _of_request("vision_tokens")),
)
