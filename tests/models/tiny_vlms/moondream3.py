"""Moondream 3: configuration and tokenizer. vLLM makes up the weights itself (`--load-format dummy`): no library here has the
architecture to write them.
"""

import json
from pathlib import Path

from checkpoint import byte_tokenizer

SPECIAL = ["<|endoftext|>", "<|md_reserved_0|>", "<|md_reserved_1|>", "<|md_reserved_2|>", "<image>"]
WIDTH, LAYERS, HEADS = 64, 2, 2
# Its code pools a picture's crops to a square whose side is the encoder's depth, so only this depth works.
VISION_LAYERS = 27
EXPERTS = {"start_layer": 1, "n_experts": 4, "n_experts_per_tok": 2, "expert_inner_dim": 64}


def write(folder: Path) -> None:
    tokenizer = byte_tokenizer(SPECIAL, eos_token="<|endoftext|>", bos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    text = {"dim": WIDTH, "ff_dim": 128, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": HEADS, "moe": EXPERTS}
    text |= {"vocab_size": 512, "max_context": 4096}
    vision = {
        "enc_dim": WIDTH,
        "enc_n_layers": VISION_LAYERS,
        "enc_ff_dim": 128,
        "enc_n_heads": HEADS,
        "proj_inner_dim": 128,
    }
    tokens = {"answer_id": tokenizer.convert_tokens_to_ids("<|md_reserved_2|>")}
    config = {"architectures": ["Moondream3ForCausalLM"], "model_type": "moondream3", "torch_dtype": "bfloat16"}
    config |= {"config": {"text": text, "vision": vision, "tokenizer": tokens}}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
