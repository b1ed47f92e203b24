"""What a request asks of an engine before its first token, in tokens: the unit of the queue and of the budget. Pure."""

from dataclasses import dataclass

from accounting.price import Work

# A hold counts every byte of text as a token, which is an upper bound. English, German and JSON have three to five.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """`tenant` shares with other tenants; `tokens` is the size of the prompt, images included."""

    tenant: str
    tokens: int
    vision_tokens: int = 0
    is_batch: bool = False


def demand_of(work: Work, tenant: str, *, is_batch: bool = False) -> Demand:
    """An image counts as what is more, its vision tokens or its encoder's work (`ImageWork.priced_tokens`)."""
    images = sum(image.priced_tokens for image in work.images)
    return Demand(tenant, 1 + images + work.text_tokens // BYTES_PER_TOKEN, work.vision_tokens, is_batch)
