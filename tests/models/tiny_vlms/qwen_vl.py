"""Qwen-VL of 2023, in its published layout: weights by name, a tiktoken vocabulary, configuration and tokenizer as remote code.

No Transformers has the architecture. The code is ours, and does what vLLM 0.23.0 asks of the published one.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
# The resampler's heads are 128 wide, so nothing is narrower.
HIDDEN, LAYERS, HEADS, INNER = 128, 2, 4, 256
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS, VISION_INNER = 64, 2, 2, 128
IMAGE_PX, PATCH_PX, QUERIES = 448, 14, 256
BYTES = 256
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"]
SPECIAL += ["<img>", "</img>", "<imgpad>"]
VOCABULARY = BYTES + len(SPECIAL)
SPREAD = 0.1


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(BYTES))
    (folder / "qwen.tiktoken").write_text(vocabulary)
    for name in ("configuration_qwen.py", "tokenization_qwen.py"):
        (folder / name).write_text((HERE / "qwen_vl_code" / name).read_text())
    (folder / "config.json").write_text(json.dumps(_config(), indent=2))
    tokenizer = {"tokenizer_class": "QWenTokenizer", "special": SPECIAL, "model_max_length": 8192}
    tokenizer |= {"auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2))
    torch.manual_seed(0)
    save_file(dict(_weights()), folder / "model.safetensors", metadata={"format": "pt"})


def _config() -> dict[str, object]:
    visual = {"image_size": IMAGE_PX, "patch_size": PATCH_PX, "width": VISION_HIDDEN, "layers": VISION_LAYERS}
    visual |= {"heads": VISION_HEADS, "mlp_ratio": VISION_INNER / VISION_HIDDEN, "n_queries": QUERIES}
    visual |= {"output_dim": HIDDEN, "image_start_id": BYTES + SPECIAL.index("<img>")}
    return {
        "architectures": ["QWenLMHeadModel"],
        "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
        "model_type": "qwen",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * INNER,
        "max_position_embeddings": 8192,
        "seq_length": 2048,
        "layer_norm_epsilon": 1e-6,
        "rotary_emb_base": 10000,
        "rope_theta": 10000,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "visual": visual,
    }


def _weights() -> Iterator[tuple[str, Tensor]]:
    yield "transformer.wte.weight", torch.randn(VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        name = f"transformer.h.{layer}"
        yield f"{name}.ln_1.weight", torch.ones(HIDDEN)
        yield f"{name}.ln_2.weight", torch.ones(HIDDEN)
        yield from _linear(f"{name}.attn.c_attn", HIDDEN, 3 * HIDDEN)
        yield from _linear(f"{name}.attn.c_proj", HIDDEN, HIDDEN, bias=False)
        yield from _linear(f"{name}.mlp.w1", HIDDEN, INNER, bias=False)
        yield from _linear(f"{name}.mlp.w2", HIDDEN, INNER, bias=False)
        yield from _linear(f"{name}.mlp.c_proj", INNER, HIDDEN, bias=False)
    yield "transformer.ln_f.weight", torch.ones(HIDDEN)
    yield from _linear("lm_head", HIDDEN, VOCABULARY, bias=False)
    yield from _visual("transformer.visual")


def _visual(name: str) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.conv1.weight", torch.randn(VISION_HIDDEN, 3, PATCH_PX, PATCH_PX) * SPREAD
    yield f"{name}.positional_embedding", torch.randn(QUERIES, VISION_HIDDEN) * SPREAD
    yield from _norm(f"{name}.ln_pre", VISION_HIDDEN)
    for layer in range(VISION_LAYERS):
        block = f"{name}.transformer.resblocks.{layer}"
        yield from _norm(f"{block}.ln_1", VISION_HIDDEN)
        yield from _norm(f"{block}.ln_2", VISION_HIDDEN)
        yield from _linear(f"{block}.attn.in_proj", VISION_HIDDEN, 3 * VISION_HIDDEN)
        yield from _linear(f"{block}.attn.out_proj", VISION_HIDDEN, VISION_HIDDEN)
        yield from _linear(f"{block}.mlp.c_fc", VISION_HIDDEN, VISION_INNER)
        yield from _linear(f"{block}.mlp.c_proj", VISION_INNER, VISION_HIDDEN)
    yield from _pool(f"{name}.attn_pool")
    yield from _norm(f"{name}.ln_post", HIDDEN)
    yield f"{name}.proj", torch.randn(HIDDEN, HIDDEN) * SPREAD


def _pool(name: str) -> Iterator[tuple[str, Tensor]]:
    """256 queries look at all patches."""
    yield f"{name}.pos_embed", torch.randn(QUERIES, HIDDEN) * SPREAD
    yield f"{name}.query", torch.randn(QUERIES, HIDDEN)
    yield from _linear(f"{name}.kv_proj", VISION_HIDDEN, HIDDEN, bias=False)
    yield f"{name}.attn.in_proj_weight", torch.randn(3 * HIDDEN, HIDDEN) * SPREAD
    yield f"{name}.attn.in_proj_bias", torch.zeros(3 * HIDDEN)
    yield from _linear(f"{name}.attn.out_proj", HIDDEN, HIDDEN)
    yield from _norm(f"{name}.ln_q", HIDDEN)
    yield from _norm(f"{name}.ln_kv", HIDDEN)


def _linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.randn(outputs, inputs) * SPREAD
    if bias:
        yield f"{name}.bias", torch.zeros(outputs)


def _norm(name: str, width: int) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.ones(width)
    yield f"{name}.bias", torch.zeros(width)
