"""A checkpoint -> what serves it."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from transformers_chat import moondream
from transformers_chat.model import Model, Served
from transformers_chat.reader import Reader


def load(weights: Path | str, revision: str | None, dtype: str, trusted: bool, settings: dict[str, Any]) -> Served:
    """On the GPU, if there is one. Raises SystemExit for a checkpoint that cannot be talked to."""
    source = {"revision": revision, "trust_remote_code": trusted}
    placed = {"dtype": dtype} | ({"device_map": "cuda"} if torch.cuda.is_available() else {})
    config = AutoConfig.from_pretrained(weights, **source)
    if moondream.ARCHITECTURE in (config.architectures or ()):
        return moondream.load(weights, config, revision, placed)
    processor = AutoProcessor.from_pretrained(weights, **source)
    if not processor.chat_template:
        raise SystemExit(f"{weights} has no chat template, so this server cannot build a prompt for it")
    model = AutoModelForImageTextToText.from_pretrained(weights, **source, **placed).eval()
    said = model.generation_config.eos_token_id
    ends = {processor.tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])} - {None}
    return Model(model, Reader(processor, settings), frozenset(ends))
