"""Models of the real sizes with random weights: `python -m benchmarks.checkpoints NAME FOLDER [--tiny]`, in an engine's
environment, with `tests/models/tiny_vlms` on the path. No download.

Qwen's have no weights at all: vLLM makes up its own (`--load-format dummy`). Prints how many parameters the real size has.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from checkpoint import TEXT
from qwen2_vl import PIXELS, ROPE, SPECIAL, TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AddedToken,
    GenerationConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
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
from transformers.convert_slow_tokenizer import bytes_to_unicode

from demo import internvl2_layout

# Of the released config.json files.
QWEN2_VISION = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4}
QWEN2_5_VISION = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "window_size": 112}
INTERNVL2_SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>"]
INTERNVL2_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
REAL_ROPE = ROPE | {"mrope_section": [16, 24, 24]}
TINY_VOCABULARY = 2048


def language(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
    }


REAL = {
    "qwen2-vl-2b-instruct": language(1536, 8960, 28, 12, 2, 151_936),
    "qwen2-vl-7b-instruct": language(3584, 18_944, 28, 28, 4, 152_064),
    "qwen2.5-vl-3b-instruct": language(2048, 11_008, 36, 16, 2, 151_936),
    "internvl2-2b": language(2048, 8192, 24, 16, 8, 92_553),
}
TIED = frozenset({"qwen2-vl-2b-instruct", "qwen2.5-vl-3b-instruct"})


def write(name: str, folder: Path, *, tiny: bool) -> int:
    """Write the model, and return how many parameters one of the real size has."""
    real = _model_class(name), _config(name, _tokenizer(name, REAL[name]["vocab_size"]), tiny=False)
    tokenizer = _tokenizer(name, TINY_VOCABULARY if tiny else REAL[name]["vocab_size"])
    config = _config(name, tokenizer, tiny=tiny)
    if name == "internvl2-2b":
        model = _random(_empty(InternVLForConditionalGeneration, config), torch.float32 if tiny else torch.bfloat16)
        internvl2_layout.write(model, tokenizer, folder, stops=("</s>", "<|im_end|>"), dtype="bfloat16")
    else:
        _write_qwen(name, config, tokenizer, folder)
    return sum(weight.numel() for weight in _empty(*real).parameters())


def _model_class(name: str) -> type[PreTrainedModel]:
    if name == "internvl2-2b":
        return InternVLForConditionalGeneration
    return Qwen2_5_VLForConditionalGeneration if name.startswith("qwen2.5") else Qwen2VLForConditionalGeneration


def _tokenizer(name: str, size: int) -> PreTrainedTokenizerFast:
    """Bytes, special tokens, and words that no text is made of, but a random model's answers are: a token for every id."""
    special = INTERNVL2_SPECIAL if name == "internvl2-2b" else SPECIAL
    letters = list(bytes_to_unicode().values())
    words = [f"{bytes_to_unicode()[ord(' ')]}w{n}" for n in range(size - len(letters) - len(special))]
    tokenizer = Tokenizer(models.BPE(vocab={text: n for n, text in enumerate(letters + words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": TEMPLATE}
    if name == "internvl2-2b":
        ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
        ends |= {"chat_template": INTERNVL2_TEMPLATE}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **ends)
    made.add_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return made


def _config(name: str, tokenizer: PreTrainedTokenizerFast, *, tiny: bool) -> PretrainedConfig:
    text = (TEXT if tiny else REAL[name]) | {"vocab_size": len(tokenizer), "max_position_embeddings": 32_768}
    if name == "internvl2-2b":
        return _internvl2_config(text, tokenizer, tiny=tiny)
    token_id = tokenizer.convert_tokens_to_ids
    text |= {"rope_parameters": ROPE if tiny else REAL_ROPE, "tie_word_embeddings": name in TIED}
    text |= {"bos_token_id": token_id("<|endoftext|>"), "eos_token_id": token_id("<|im_end|>")}
    markers: dict[str, Any] = {
        "image_token_id": token_id("<|image_pad|>"),
        "video_token_id": token_id("<|video_pad|>"),
        "vision_start_token_id": token_id("<|vision_start|>"),
        "vision_end_token_id": token_id("<|vision_end|>"),
        "tie_word_embeddings": name in TIED,
        "architectures": [_model_class(name).__name__],
    }
    if name.startswith("qwen2.5"):
        small = {"depth": 2, "hidden_size": 64, "num_heads": 2, "intermediate_size": 128, "window_size": 112}
        vision = (small if tiny else QWEN2_5_VISION) | {"out_hidden_size": text["hidden_size"]}
        vision |= {"fullatt_block_indexes": [1] if tiny else [7, 15, 23, 31]}
        return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **markers)
    small = {"depth": 2, "embed_dim": 64, "num_heads": 2, "mlp_ratio": 2}
    vision = (small if tiny else QWEN2_VISION) | {"hidden_size": text["hidden_size"]}
    return Qwen2VLConfig(text_config=text, vision_config=vision, **markers)


def _internvl2_config(text: dict[str, Any], tokenizer: PreTrainedTokenizerFast, *, tiny: bool) -> InternVLConfig:
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    llama = LlamaConfig(**text, **ends, pad_token_id=tokenizer.pad_token_id, rope_theta=1e6, tie_word_embeddings=False)
    vision = {
        "hidden_size": 32 if tiny else 1024,
        "num_hidden_layers": 2 if tiny else 24,
        "num_attention_heads": 2 if tiny else 16,
        "intermediate_size": 64 if tiny else 4096,
        "image_size": [448, 448],
        "patch_size": [14, 14],
        "attention_bias": True,
        "use_qk_norm": False,
        "norm_type": "layer_norm",
        "use_mean_pooling": True,
    }
    return InternVLConfig(
        text_config=llama.to_dict(),
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=256,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


def _write_qwen(name: str, config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    processor = Qwen2_5_VLProcessor if name.startswith("qwen2.5") else Qwen2VLProcessor
    processor(
        image_processor=Qwen2VLImageProcessor(**PIXELS),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**PIXELS),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    config.save_pretrained(folder)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)


def _empty(kind: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """Shapes without memory."""
    with torch.device("meta"):
        return kind(config)


def _random(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(0)
    model = model.to_empty(device="cpu").to(dtype)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.02)
            else:
                weight.fill_(float("bias" not in name))
    return model


if __name__ == "__main__":
    model, to, *flags = sys.argv[1:]
    print(write(model, Path(to), tiny="--tiny" in flags))
