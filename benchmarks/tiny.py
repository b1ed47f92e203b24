"""Write the benchmark's checkpoint: `python -m benchmarks.tiny FOLDER`, in the vLLM environment. Seconds, no download.

The real Qwen2-VL architecture with random weights, 0.6 million parameters: an engine so cheap that what stands before it
shows. Its answers are noise. The processor is set as the released ones are: a picture of 224 px is 64 vision tokens.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from demo.qwen2_vl import CHAT_TEMPLATE, SPECIAL_TOKENS
from demo.words import VOCABULARY, tokenizer

PIXELS = {"min_pixels": 3136, "max_pixels": 1_003_520}


def write(folder: Path) -> None:
    """The same bytes every time."""
    words = tokenizer(SPECIAL_TOKENS, CHAT_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    token_id = words.convert_tokens_to_ids
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": token_id("<|endoftext|>"),
        "eos_token_id": token_id("<|im_end|>"),
    }
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        text_config=text,
        vision_config={"depth": 2, "embed_dim": 64, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2},
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**PIXELS),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(**PIXELS),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
