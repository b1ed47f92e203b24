"""PaliGemma and PaliGemma 2, at their three resolutions."""

from pathlib import Path
from typing import Any

from checkpoint import SPARE, TEXT, VISION, byte_tokenizer, write_weights
from transformers import (
    AddedToken,
    Gemma2Config,
    GemmaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

PATCH_PX = 14
HEAD_DIM = 32


def write(folder: Path, side_px: int, generation: int = 1) -> None:
    """PaliGemma 2 is `generation` 2: the same on Gemma 2."""
    tokenizer = byte_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"],
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
    pictures = SiglipImageProcessor(size={"height": side_px, "width": side_px})
    pictures.image_seq_length = (side_px // PATCH_PX) ** 2
    processor = PaliGemmaProcessor(pictures, tokenizer)  # adds the tokens of places
    # vLLM asks the vocabulary for the newline that ends the prefix.
    tokenizer.add_tokens([AddedToken("\n", special=False, normalized=False)])
    vision = SiglipVisionConfig(**VISION, image_size=side_px, patch_size=PATCH_PX, vision_use_head=False)
    config = PaliGemmaConfig(
        vision_config=vision.to_dict(),
        text_config=_text(tokenizer, generation).to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vocab_size=len(tokenizer) + SPARE,
        projection_dim=64,
        hidden_size=64,
    )
    processor.save_pretrained(folder)
    write_weights(lambda: PaliGemmaForConditionalGeneration(config), folder)


def _text(tokenizer: PreTrainedTokenizerFast, generation: int) -> Any:
    said = TEXT | {"vocab_size": len(tokenizer) + SPARE, "head_dim": HEAD_DIM, "max_position_embeddings": 8192}
    said |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    said |= {"pad_token_id": tokenizer.pad_token_id}
    return GemmaConfig(**said) if generation == 1 else Gemma2Config(**said, query_pre_attn_scalar=HEAD_DIM)
