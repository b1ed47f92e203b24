"""Qwen2-VL and Qwen2.5-VL."""

from pathlib import Path
from typing import Any

from checkpoint import SPARE, TEXT, byte_tokenizer, write_weights
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"]
SPECIAL += ["<|box_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Of the released preprocessor_config.json.
PIXELS = {"min_pixels": 3136, "max_pixels": 12845056}
# The real 16 + 24 + 24 of heads of 128, for heads of 32.
ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}


def write(folder: Path) -> None:
    """Qwen2-VL."""
    tokenizer = _tokenizer()
    vision = {"depth": 2, "embed_dim": 64, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config=_text(tokenizer), vision_config=vision, **_markers(tokenizer))
    _processor(Qwen2VLProcessor, tokenizer).save_pretrained(folder)
    write_weights(lambda: Qwen2VLForConditionalGeneration(config), folder)


def write_2_5(folder: Path) -> None:
    """Qwen2.5-VL: windows of attention in all layers but the last."""
    tokenizer = _tokenizer()
    vision = {"depth": 2, "hidden_size": 64, "num_heads": 2, "intermediate_size": 128, "out_hidden_size": 64}
    vision |= {"window_size": 112, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(text_config=_text(tokenizer), vision_config=vision, **_markers(tokenizer))
    _processor(Qwen2_5_VLProcessor, tokenizer).save_pretrained(folder)
    write_weights(lambda: Qwen2_5_VLForConditionalGeneration(config), folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(SPECIAL, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE)


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ends = {"bos_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    size = {"vocab_size": len(tokenizer) + SPARE, "max_position_embeddings": 32768, "rope_parameters": ROPE}
    return TEXT | size | ends


def _markers(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }


def _processor(kind: Any, tokenizer: PreTrainedTokenizerFast) -> Any:
    return kind(
        image_processor=Qwen2VLImageProcessor(**PIXELS),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**PIXELS),
        chat_template=TEMPLATE,
    )
