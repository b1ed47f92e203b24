"""Charges as rows of FOCUS."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from exports.charge import Charge
from exports.focus import COLUMNS

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ServiceCategory", "ServiceName", "ServiceProviderName",
}  # fmt: skip
REQUEST = {
    "request_id": "r1",
    "org_id": "acme",
    "project_id": "scans",
    "key_id": "key_1",
    "user_id": None,
    "metadata": '{"team": "blue"}',
    "model": "demo-qwen2-vl",
    "tier": "default",
    "price_version": 3,
    "units": json.dumps({"images": [1, 3], "output": 2}),
    "images": 2,
    "text_tokens": 64,
    "vision_tokens": 2_392,
    "cached_tokens": 16,
    "output_tokens": 700,
    "latency_ms": 900,
    "outcome": "complete",
    "closed_at_ms": 1_796_041_800_123,  # 2026-11-30T12:30:00.123Z
}
CHARGE = Charge(7, "charge", "r1", 6_705_000, REQUEST["closed_at_ms"], REQUEST)


def row(charge: Charge) -> dict[str, Any]:
    return {column.name: column.of(charge) for column in COLUMNS}


def refund(at: datetime) -> Charge:
    return Charge(9, "refund", "ticket 12", -1_341_000, int(at.timestamp() * 1000), REQUEST)


def test_every_mandatory_column_is_there():
    """In the order of the alphabet, as FOCUS lists them, with our own at the end."""
    names = [column.name for column in COLUMNS]
    ours = [name for name in names if name.startswith("x_")]
    assert set(names) >= MANDATORY
    assert names == sorted(set(names) - set(ours)) + sorted(ours)


def test_a_charge_is_a_row_of_usage():
    """Who, what, when and how much."""
    charged = row(CHARGE)
    expected = {
        "BilledCost": Decimal("0.006705"),
        "ListCost": Decimal("0.006705"),
        "BillingAccountId": "acme",
        "SubAccountId": "scans",
        "BillingPeriodStart": datetime(2026, 11, 1, tzinfo=UTC),
        "BillingPeriodEnd": datetime(2026, 12, 1, tzinfo=UTC),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargePeriodStart": datetime(2026, 11, 30, 12, tzinfo=UTC),
        "ChargePeriodEnd": datetime(2026, 11, 30, 13, tzinfo=UTC),
        "ConsumedQuantity": 2,
        "PricingQuantity": 5,  # 1 + 3 for the images, and one more for output above 512 tokens
        "ResourceId": "r1",
        "SkuId": "demo-qwen2-vl@3",
        "SkuPriceId": "demo-qwen2-vl@3:default",
        "Tags": '{"team": "blue"}',
        "x_BookedAt": datetime(2026, 11, 30, 12, 30, 0, 123_000, tzinfo=UTC),
        "x_VisionTokens": 2_392,
    }
    assert {name: charged[name] for name in expected} == expected


def test_a_refund_gives_back_money_and_nothing_else():
    """It belongs to the hour of its charge, and counts no image a second time."""
    given = row(refund(datetime(2026, 11, 30, 18, tzinfo=UTC)))
    assert (given["BilledCost"], given["EffectiveCost"]) == (Decimal("-0.001341"), Decimal("-0.001341"))
    assert (given["ConsumedQuantity"], given["PricingQuantity"]) == (0, 0)
    assert (given["ChargeCategory"], given["ChargePeriodStart"]) == ("Usage", datetime(2026, 11, 30, 12, tzinfo=UTC))
    assert (given["x_LedgerKind"], given["x_LedgerRef"]) == ("refund", "ticket 12")


@pytest.mark.parametrize(
    ("booked", "charge_class", "period"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), None, 11),
        (datetime(2026, 12, 1, tzinfo=UTC), "Correction", 12),
        (datetime(2027, 1, 31, tzinfo=UTC), "Correction", 1),
    ],
)
def test_a_refund_of_an_earlier_month_is_a_correction(booked: datetime, charge_class: str | None, period: int):
    """That month may have been invoiced; the refund is in the month in which it was booked."""
    given = row(refund(booked))
    assert (given["ChargeClass"], given["BillingPeriodStart"].month) == (charge_class, period)


@pytest.mark.parametrize(
    ("units", "output_tokens", "quantity"),
    [
        ({"images": [], "output": 0}, 9, 1),  # a request without images is one unit
        ({"images": [1, 3], "output": 2}, 512, 4),
        ({"images": [1, 3], "output": 2}, 1_536, 6),
        ({"images": [1, 3], "output": 2}, 9_999, 6),  # never more than was held
    ],
)
def test_the_priced_quantity_is_units(units: dict[str, Any], output_tokens: int, quantity: int):
    """As the request was charged, not as it was held."""
    request = REQUEST | {"units": json.dumps(units), "output_tokens": output_tokens}
    assert row(Charge(7, "charge", "r1", 1, REQUEST["closed_at_ms"], request))["PricingQuantity"] == quantity
