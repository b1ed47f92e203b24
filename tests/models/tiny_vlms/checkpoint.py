"""What all tiny checkpoints share: a tokenizer of single bytes, and weights that are always the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

# Of the language models. Heads of 32 are the smallest that vLLM's CPU attention takes.
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
# Tokens that the tokenizer never makes, as released models have.
SPARE = 8
# So that the most likely token depends on what is seen, not on rounding.
SPREAD = 0.3


def byte_tokenizer(special: list[str], **settings: Any) -> PreTrainedTokenizerFast:
    """No merges: every byte of a text is a token, so counts are known without it."""
    tokenizer = Tokenizer(models.BPE(vocab={text: n for n, text in enumerate(bytes_to_unicode().values())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **settings)
    made.add_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return made


def write_weights(make: Callable[[], PreTrainedModel], folder: Path) -> None:
    """Float32 weights of what `make` makes, in one file, named as released checkpoints name them."""
    torch.manual_seed(0)
    model = make()
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=SPREAD / weight.shape[-1] ** 0.25)
    model.save_pretrained(folder)
    _rename_vision_towers(folder / "model.safetensors")


def _rename_vision_towers(file: Path) -> None:
    """Transformers 5 leaves out a level of CLIP's and SigLIP's names that vLLM and every released checkpoint have."""
    weights = load_file(file)
    if any(name.startswith("vision_tower.vision_model.") for name in weights):
        return
    renamed = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1)
        if name.startswith("vision_tower.")
        else name: tensor
        for name, tensor in weights.items()
    }
    save_file(renamed, file, metadata={"format": "pt"})
