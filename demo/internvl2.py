"""The demo InternVL2: the real architecture (InternViT, pixel shuffle, `mlp1`, InternLM2), a few million parameters wide.

Trained as Transformers' own InternVL, and saved in the layout in which InternVL2 was published. Runs in an engine
environment (torch, transformers), never in the base one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig

from demo import internvl2_layout
from demo.generate import SIZE_PX, Example
from demo.words import IGNORED, VOCABULARY, tokenizer

PATCH_PX = 14
# The pixel shuffle merges 2 x 2 patches.
IMAGE_TOKENS = (SIZE_PX // PATCH_PX // 2) ** 2
# By which InternVL2 normalises pixels of 0 to 1: those of ImageNet.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# InternVL2's own special tokens.
SPECIAL_TOKENS = (
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<pad>",
)
# The chat template of the published checkpoint (MIT).
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class InternVl2:
    """Untrained weights, 2.7 million parameters; see `demo.train.Learner`."""

    def __init__(self) -> None:
        self.words = tokenizer(
            SPECIAL_TOKENS, CHAT_TEMPLATE, bos_token="<s>", eos_token="<|im_end|>", pad_token="<pad>"
        )
        self.network = InternVLForConditionalGeneration(_config(self.words.convert_tokens_to_ids))
        # Transformers begins with none: positions would be learnt from nothing.
        torch.nn.init.normal_(self.network.model.vision_tower.embeddings.position_embeddings, std=0.02)
        self._tokens = cache(lambda text: self.words.encode(text, add_special_tokens=False))

    def encode(self, batch: Sequence[Example]) -> Mapping[str, Tensor]:
        rows = [
            (self._tokens(self._prompt(example.question)), self._tokens(f"{example.answer}<|im_end|>"))
            for example in batch
        ]
        shape = (len(rows), max(len(prompt) + len(answer) for prompt, answer in rows))
        ids, labels = torch.full(shape, self.words.pad_token_id), torch.full(shape, IGNORED)
        for row, (prompt, answer) in enumerate(rows):
            end = len(prompt) + len(answer)
            ids[row, :end] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : end] = torch.tensor(answer)
        mask = (ids != self.words.pad_token_id).long()
        pictures = normalised(pixels(batch), MEAN, DEVIATION)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "pixel_values": pictures}

    def seen(self, pictures: Tensor) -> Tensor:
        """What the language model gets to see of normalised pictures: (pictures, `IMAGE_TOKENS`, width)."""
        features = self.network.model.get_image_features(
            pixel_values=pictures, vision_feature_layer=-1, vision_feature_select_strategy="default", return_dict=True
        )
        return features.pooler_output

    def save(self, out: Path) -> None:
        """A checkpoint that LMDeploy loads as it would load the published one."""
        network = self.network.to(torch.float16)
        internvl2_layout.write(network, self.words, out, stops=("</s>", "<|im_end|>"), dtype="float16")

    def _prompt(self, question: str) -> str:
        """As LMDeploy writes it: the image's tokens, a newline, the question."""
        content = f"<img>{'<IMG_CONTEXT>' * IMAGE_TOKENS}</img>\n{question}"
        messages = [{"role": "user", "content": content}]
        return self.words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def pixels(batch: Sequence[Example]) -> Tensor:
    """(pictures, height, width, 3), of 0 to 1."""
    return torch.from_numpy(np.stack([np.asarray(example.image) for example in batch])).float() / 255


def normalised(pictures: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """(pictures, 3, height, width)."""
    return ((pictures - torch.tensor(mean)) / torch.tensor(deviation)).permute(0, 3, 1, 2).contiguous()


def _config(token_id: Callable[[str], int]) -> InternVLConfig:
    # InternLM2 is a Llama whose matrices have other names.
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        # As in the demo Qwen2-VL: our prompts have forty tokens, not thousands.
        rope_theta=10.0,
        tie_word_embeddings=True,
        attention_bias=False,
        bos_token_id=token_id("<s>"),
        eos_token_id=token_id("<|im_end|>"),
        pad_token_id=token_id("<pad>"),
    )
    vision = {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "image_size": [SIZE_PX, SIZE_PX],
        "patch_size": [PATCH_PX, PATCH_PX],
        "attention_bias": True,
        "use_qk_norm": False,
        "norm_type": "layer_norm",
        "use_mean_pooling": True,
        "layer_scale_init_value": 1.0,
    }
    return InternVLConfig(
        text_config=text.to_dict(),
        vision_config=vision,
        image_token_id=token_id("<IMG_CONTEXT>"),
        image_seq_length=IMAGE_TOKENS,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
