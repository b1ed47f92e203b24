"""The demo Qwen2-VL: the real architecture, processor and chat template, a few million parameters wide.

Runs in an engine environment (torch, transformers), never in the base one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from demo.generate import SIZE_PX, Example
from demo.words import IGNORED, VOCABULARY, tokenizer

# Every picture is brought to the size the model was trained on, whatever the caller sends.
PIXELS = SIZE_PX * SIZE_PX
# Qwen2-VL's own special tokens, in their own order.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The chat template of the released Qwen2-VL checkpoints (Apache-2.0).
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen2Vl:
    """Untrained weights, 3.0 million parameters; see `demo.train.Learner`."""

    def __init__(self) -> None:
        self._processor = _processor()
        self.network = Qwen2VLForConditionalGeneration(_config(self._processor.tokenizer.convert_tokens_to_ids))

    def encode(self, batch: Sequence[Example]) -> Mapping[str, Tensor]:
        words = self._processor.tokenizer
        prompts = [
            self._processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": example.question}]}],
                add_generation_prompt=True,
            )
            for example in batch
        ]
        answers = [f"{example.answer}<|im_end|>" for example in batch]
        inputs = self._processor(
            text=[prompt + answer for prompt, answer in zip(prompts, answers, strict=True)],
            images=[example.image for example in batch],
            padding=True,
            padding_side="right",
            return_tensors="pt",
            return_mm_token_type_ids=True,
        )
        labels = torch.full_like(inputs["input_ids"], IGNORED)
        for row, answer in enumerate(answers):
            end = int(inputs["attention_mask"][row].sum())
            start = end - len(words.encode(answer, add_special_tokens=False))
            labels[row, start:end] = inputs["input_ids"][row, start:end]
        return inputs | {"labels": labels}

    def save(self, out: Path) -> None:
        """A checkpoint that vLLM loads as it would load a released one."""
        self.network.to(torch.float16).save_pretrained(out)
        self._processor.save_pretrained(out)


def _processor() -> Qwen2VLProcessor:
    """Qwen2-VL's own processor, set to the one picture size that the model knows."""
    pixels = {"min_pixels": PIXELS, "max_pixels": PIXELS}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer(SPECIAL_TOKENS, CHAT_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE,
    )


def _config(token_id: Callable[[str], int]) -> Qwen2VLConfig:
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        # The sections sum to half of the head size (32), in the proportions of the released 16 + 24 + 24. The columns of
        # a picture get the slowest frequencies; with a base as large as the released one, the four columns of ours would
        # differ by a hundredth of a radian, and neither left and right nor the order of digits could be learnt.
        "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]},
        "tie_word_embeddings": True,
        "bos_token_id": token_id("<|endoftext|>"),
        "eos_token_id": token_id("<|im_end|>"),
    }
    vision = {"depth": 4, "embed_dim": 128, "hidden_size": 192, "num_heads": 4, "mlp_ratio": 4}
    return Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
    )
