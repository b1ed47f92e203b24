"""The layout in which InternVL2 was published (InternViT, `mlp1`, InternLM2), written from the same model in Transformers.

LMDeploy serves the published layout; Transformers cannot run it, and trains its own. The weights are the same under other
names, with query, key and value fused. Runs in an engine environment (torch, transformers), never in the base one.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, PreTrainedTokenizerFast

# What LMDeploy needs of the published repository's own code: InternVL2's configuration is not in Transformers.
CONFIGURATION = '''"""The configuration classes of InternVL2, without its defaults: config.json says everything."""

from transformers.configuration_utils import PretrainedConfig


class InternVisionConfig(PretrainedConfig):
    model_type = "intern_vit_6b"


class InternLM2Config(PretrainedConfig):
    model_type = "internlm2"

    def __init__(self, rope_theta=10000, rope_scaling=None, max_position_embeddings=32768, **others):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**others)


class InternVLChatConfig(PretrainedConfig):
    model_type = "internvl_chat"
    is_composition = True

    def __init__(self, vision_config=None, llm_config=None, **others):
        self.vision_config = InternVisionConfig(**(vision_config or {}))
        self.llm_config = InternLM2Config(**(llm_config or {}))
        super().__init__(**others)

    def to_dict(self):
        return super().to_dict() | {
            "vision_config": self.vision_config.to_dict(),
            "llm_config": self.llm_config.to_dict(),
        }
'''
# As published; it changes nothing before the last position.
LONG_CONTEXT = {"rope_scaling": {"type": "dynamic", "factor": 2.0}}


def write(
    model: InternVLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    stops: tuple[str, ...],
    dtype: str,
) -> None:
    """A checkpoint that LMDeploy loads as it would load the published one.

    Each of `stops` ends an answer; `dtype` is that in which a GPU computes, the weights are written as they are.
    """
    tokenizer.save_pretrained(folder)
    weights = {name: weight.clone().contiguous() for name, weight in published_weights(model).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ends = tokenizer.convert_tokens_to_ids(list(stops))
    _write_json(folder / "generation_config.json", {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": ends})
    _write_json(folder / "config.json", published_config(model.config, dtype))
    (folder / "configuration_internvl_chat.py").write_text(CONFIGURATION, encoding="utf-8")


def published_weights(model: InternVLForConditionalGeneration) -> dict[str, Tensor]:
    """The weights under the names of the published checkpoint."""
    native, text = model.state_dict(), model.config.text_config
    weights = {
        "language_model.model.tok_embeddings.weight": native["model.language_model.embed_tokens.weight"],
        "language_model.model.norm.weight": native["model.language_model.norm.weight"],
        "language_model.output.weight": native["lm_head.weight"],
    }
    tower, seen = "model.vision_tower.embeddings.", "vision_model.embeddings."
    weights[seen + "class_embedding"] = native[tower + "cls_token"]
    weights[seen + "position_embedding"] = native[tower + "position_embeddings"]
    for kind in ("weight", "bias"):
        weights[f"{seen}patch_embedding.{kind}"] = native[f"{tower}patch_embeddings.projection.{kind}"]
        for to, name in ((0, "layer_norm"), (1, "linear_1"), (3, "linear_2")):
            weights[f"mlp1.{to}.{kind}"] = native[f"model.multi_modal_projector.{name}.{kind}"]
    for layer in range(model.config.vision_config.num_hidden_layers):
        weights |= _vision_layer(native, layer)
    for layer in range(text.num_hidden_layers):
        weights |= _text_layer(native, layer, text.num_key_value_heads, text.head_dim)
    return weights


def published_config(config: InternVLConfig, dtype: str) -> dict[str, Any]:
    """`config.json` of the published checkpoint, at this model's sizes."""
    text, vision = config.text_config, config.vision_config
    image_px, patch_px = vision.image_size[0], vision.patch_size[0]
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "torch_dtype": dtype,
        "downsample_ratio": config.downsample_ratio,
        "dynamic_image_size": True,
        "force_image_size": image_px,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 12,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "use_thumbnail": True,
        "pad2square": False,
        "llm_config": {
            "architectures": ["InternLM2ForCausalLM"],
            "model_type": "internlm2",
            "bias": False,
            "hidden_act": "silu",
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "num_key_value_heads": text.num_key_value_heads,
            "max_position_embeddings": text.max_position_embeddings,
            "rms_norm_eps": text.rms_norm_eps,
            "rope_theta": text.rope_parameters["rope_theta"],
            # The published layout has an output matrix of its own, whether or not it is that of the input.
            "tie_word_embeddings": False,
            "bos_token_id": text.bos_token_id,
            "eos_token_id": text.eos_token_id,
            "pad_token_id": text.pad_token_id,
            "torch_dtype": dtype,
            **LONG_CONTEXT,
        },
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "hidden_size": vision.hidden_size,
            "num_hidden_layers": vision.num_hidden_layers,
            "num_attention_heads": vision.num_attention_heads,
            "intermediate_size": vision.intermediate_size,
            "image_size": image_px,
            "patch_size": patch_px,
            "qkv_bias": True,
            "qk_normalization": False,
            "norm_type": "layer_norm",
            "layer_norm_eps": 1e-6,
            "hidden_act": "gelu",
            "num_channels": 3,
            "use_flash_attn": False,
            "torch_dtype": dtype,
        },
    }


def _vision_layer(native: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    source, to = f"model.vision_tower.encoder.layer.{layer}.", f"vision_model.encoder.layers.{layer}."
    names = {
        "attn.proj": "attention.projection_layer",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    weights = {to + "ls1": native[source + "lambda_1"], to + "ls2": native[source + "lambda_2"]}
    for kind in ("weight", "bias"):
        weights |= {f"{to}{name}.{kind}": native[f"{source}{old}.{kind}"] for name, old in names.items()}
        weights[f"{to}attn.qkv.{kind}"] = torch.cat([native[f"{source}attention.{x}_proj.{kind}"] for x in "qkv"])
    return weights


def _text_layer(native: dict[str, Tensor], layer: int, kv_heads: int, head_dim: int) -> dict[str, Tensor]:
    """`wqkv` holds, for each KV head, its query heads, its key and its value."""
    source, to = f"model.language_model.layers.{layer}.", f"language_model.model.layers.{layer}."
    names = {
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w3": "mlp.up_proj",
        "feed_forward.w2": "mlp.down_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    weights = {f"{to}{name}.weight": native[f"{source}{old}.weight"] for name, old in names.items()}
    query = native[source + "self_attn.q_proj.weight"]
    width = query.shape[1]
    parts = [native[f"{source}self_attn.{x}_proj.weight"].view(kv_heads, -1, head_dim, width) for x in "qkv"]
    weights[to + "attention.wqkv.weight"] = torch.cat(parts, 1).reshape(-1, width)
    return weights


def _write_json(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
