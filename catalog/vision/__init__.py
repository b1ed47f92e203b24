"""How much work an image is: one pure formula a family of models, from width and height alone.

Every formula is exact: it equals what the model's own processor does, so a price is known before an engine sees the
image. A new family is one file here, and its name in `Vision`.
"""

from typing import Annotated

from pydantic import Field

from catalog.vision.fixed import Llava, PaliGemma, QwenVl
from catalog.vision.internvl2 import InternVl2
from catalog.vision.moondream import Moondream
from catalog.vision.qwen2_vl import Qwen2Vl
from catalog.vision.seen import NoVideo, Seen, UnsupportedSize, VisionFamily
from catalog.vision.smolvlm2 import SmolVlm2

Vision = Annotated[
    Qwen2Vl | QwenVl | InternVl2 | PaliGemma | Llava | Moondream | SmolVlm2,
    Field(discriminator="family"),
]

__all__ = [
    "InternVl2",
    "Llava",
    "Moondream",
    "NoVideo",
    "PaliGemma",
    "Qwen2Vl",
    "QwenVl",
    "Seen",
    "SmolVlm2",
    "UnsupportedSize",
    "Vision",
    "VisionFamily",
]
