"""A tiny InternVL2 with random weights: `python tiny_internvl2.py FOLDER`, in an environment that has Transformers.

Writes the real architecture of InternVL2-2B twice, with the same weights. FOLDER/original is the layout in which it was
published (InternViT, `mlp1`, InternLM2), which LMDeploy serves; FOLDER/native is that of Transformers, which cannot run
the original one. It answers noise, always the same.
"""

import string
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast

from demo import internvl2_layout

IMAGE_PX, PATCH_PX = 448, 14
HIDDEN, LAYERS, HEADS, KV_HEADS, INNER = 64, 2, 4, 2, 128
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS, VISION_INNER = 32, 2, 2, 64
POSITIONS = 32768
UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>", "<ref>", "</ref>", "<box>", "</box>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


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


def write(folder: Path) -> None:
    """Both layouts, below `folder`."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    tokenizer.save_pretrained(folder / "native")
    model.save_pretrained(folder / "native")
    internvl2_layout.write(model, tokenizer, folder / "original", stops=(EOS, "<|im_end|>"), dtype="bfloat16")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
