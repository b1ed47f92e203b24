"""A tiny InternVL2 with random weights: `python tiny_internvl2.py FOLDER`, in an environment that has Transformers.

Writes the real architecture of InternVL2-2B twice, with the same weights. FOLDER/original is the layout in which it was
published (InternViT, `mlp1`, InternLM2), which LMDeploy serves; FOLDER/native is that of Transformers, which cannot run
the original one. It answers noise, always the same.
"""

import json
import string
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast

IMAGE_PX, PATCH_PX = 448, 14
HIDDEN, LAYERS, HEADS, KV_HEADS, INNER = 64, 2, 4, 2, 128
HEAD_DIM = HIDDEN // HEADS
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS, VISION_INNER = 32, 2, 2, 64
POSITIONS = 32768
# As published; it changes nothing before the last position.
LONG_CONTEXT = {"rope_scaling": {"type": "dynamic", "factor": 2.0}}
UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>", "<ref>", "</ref>", "<box>", "</box>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
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


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, and the special ones: a text says exactly which tokens it is made of."""
    vocabulary = {token: i for i, token in enumerate([UNKNOWN, BOS, EOS, *SPECIAL, *string.printable])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN))
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=EOS,
        additional_special_tokens=SPECIAL,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast) -> InternVLForConditionalGeneration:
    """Weights so large that the next token depends on the whole context, the image included."""
    torch.manual_seed(0)
    text = LlamaConfig(**_text_fields(tokenizer), attention_bias=False)
    vision = {
        "hidden_size": VISION_HIDDEN,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": VISION_HEADS,
        "intermediate_size": VISION_INNER,
        "image_size": [IMAGE_PX, IMAGE_PX],
        "patch_size": [PATCH_PX, PATCH_PX],
        "attention_bias": True,
        "use_qk_norm": False,
        "norm_type": "layer_norm",
        "use_mean_pooling": True,
    }
    config = InternVLConfig(
        text_config=text.to_dict(),
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=256,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                weight.normal_(0, 0.12)
            else:
                weight.normal_(float("bias" not in name), 0.05 if "bias" in name else 0.1)
        model.get_input_embeddings().weight.normal_(0, 1.0)
    return model


def original_weights(native: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names of the published checkpoint, query, key and value fused as there."""
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
        for to, name in enumerate(("layer_norm", "linear_1", "", "linear_2")):
            if name:
                weights[f"mlp1.{to}.{kind}"] = native[f"model.multi_modal_projector.{name}.{kind}"]
    for layer in range(VISION_LAYERS):
        weights |= _vision_layer(native, layer)
    for layer in range(LAYERS):
        weights |= _text_layer(native, layer)
    return weights


def original_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """`config.json` of the published checkpoint, at our sizes."""
    text = {"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "bias": False, "hidden_act": "silu"}
    vision = {
        "architectures": ["InternVisionModel"],
        "model_type": "intern_vit_6b",
        "hidden_size": VISION_HIDDEN,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": VISION_HEADS,
        "intermediate_size": VISION_INNER,
        "image_size": IMAGE_PX,
        "patch_size": PATCH_PX,
        "qkv_bias": True,
        "qk_normalization": False,
        "norm_type": "layer_norm",
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
        "num_channels": 3,
        "use_flash_attn": False,
        "torch_dtype": "bfloat16",
    }
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "torch_dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": IMAGE_PX,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 12,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "use_thumbnail": True,
        "pad2square": False,
        "llm_config": text | _text_fields(tokenizer) | LONG_CONTEXT | {"torch_dtype": "bfloat16"},
        "vision_config": vision,
    }


def _text_fields(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
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


def _text_layer(native: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
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
    parts = [native[f"{source}self_attn.{x}_proj.weight"].view(KV_HEADS, -1, HEAD_DIM, HIDDEN) for x in "qkv"]
    weights[to + "attention.wqkv.weight"] = torch.cat(parts, 1).reshape(-1, HIDDEN)
    return weights


def write(folder: Path) -> None:
    """Both layouts, below `folder`."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    original, native = folder / "original", folder / "native"
    for home in (original, native):
        tokenizer.save_pretrained(home)
    model.save_pretrained(native)
    weights = {name: weight.clone().contiguous() for name, weight in original_weights(model.state_dict()).items()}
    save_file(weights, original / "model.safetensors", metadata={"format": "pt"})
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    _write_json(original / "generation_config.json", {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": stops})
    _write_json(original / "config.json", original_config(tokenizer))
    (original / "configuration_internvl_chat.py").write_text(CONFIGURATION, encoding="utf-8")


def _write_json(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
