"""What a request costs, in integer nano-dollars, known before the engine sees it.

    units = max(1, sum over images of max(1, ceil(work / 1280)) + ceil(max(0, output_tokens - 512) / 512))
    work  = max(vision_tokens, ceil(encoder_patches / 4))

An image is work for the language model, by its vision tokens, and for the vision encoder, by its patches. Four patches
are a token's worth, as in the models that merge 2 x 2 of them into one (Qwen2-VL, InternVL2): there both are the same.
Where the encoder does more (Moondream shows 729 tokens of up to 9,477 patches), the encoder is what is paid.

Quotes only multiply integers, so nothing is ever rounded. One function prices the hold (with the output tokens that the
request may use) and the charge (with those it used), always with the price version of the admission.
"""

from dataclasses import dataclass

# The most work one unit buys: a Qwen2-VL image at the default cap of 1,003,520 pixels.
UNIT_VISION_TOKENS = 1280
PATCHES_PER_VISION_TOKEN = 4
# Output tokens that every request may use without paying for more units, and the step beyond.
FREE_OUTPUT_TOKENS = 512
UNIT_OUTPUT_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One immutable version of a model's price, in nano-dollars. `basis` is the JSON of its conditions."""

    model: str
    version: int
    unit_nano: int
    batch_unit_nano: int
    text_token_nano: int = 0
    output_token_nano: int = 0
    basis: str = "{}"


@dataclass(frozen=True, slots=True)
class ImageWork:
    """One image: the positions of the language model that it fills, and the patches that its vision encoder computes."""

    vision_tokens: int
    encoder_patches: int = 0

    @property
    def priced_tokens(self) -> int:
        """Whichever is more: its vision tokens, or what its patches are worth in them."""
        return max(self.vision_tokens, _ceil(self.encoder_patches, PATCHES_PER_VISION_TOKEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is priced of a request. For a hold, text and output are upper bounds; for a charge, what was used."""

    images: tuple[ImageWork, ...]
    text_tokens: int
    output_tokens: int

    @property
    def vision_tokens(self) -> int:
        """What the images fill of the model's context, whatever they are priced by."""
        return sum(image.vision_tokens for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Units by what they pay for, and the sum in nano-dollars."""

    image_units: tuple[int, ...]
    output_units: int
    amount_nano: int

    @property
    def units(self) -> int:
        return _units(self.image_units, self.output_units)


def quote(price: Price, work: Work) -> Quote:
    """Price `work`. Pure and monotonic: less text and output never cost more, so a charge never exceeds its hold."""
    image_units = tuple(_image_units(image) for image in work.images)
    output = output_units(work.output_tokens)
    tokens_nano = work.text_tokens * price.text_token_nano + work.output_tokens * price.output_token_nano
    return Quote(
        image_units=image_units,
        output_units=output,
        amount_nano=_units(image_units, output) * price.unit_nano + tokens_nano,
    )


def output_units(output_tokens: int) -> int:
    """What an answer of this length adds to the units of its images."""
    return _ceil(max(0, output_tokens - FREE_OUTPUT_TOKENS), UNIT_OUTPUT_TOKENS)


def _units(image_units: tuple[int, ...], output_units: int) -> int:
    return max(1, sum(image_units) + output_units)


def _image_units(image: ImageWork) -> int:
    return max(1, _ceil(image.priced_tokens, UNIT_VISION_TOKENS))


def _ceil(amount: int, step: int) -> int:
    return -(-amount // step)
