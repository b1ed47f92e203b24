"""SmolVLM2, for images and video."""

from pathlib import Path

from checkpoint import SPARE, TEXT, VISION, byte_tokenizer, write_weights
from transformers import (
    LlamaConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'] is string %}: {{ message['content'] }}{% else %}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}<image>{% elif part['type'] == 'video' %}<video>{% endif %}{% endfor %}"
    "{% endif %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<global-img>"]
SPECIAL += ["<end_of_utterance>", "<video>"]
SPECIAL += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]


def write(folder: Path, long_edge_px: int = 2048, tile_px: int = 512, patch_px: int = 16, shuffle: int = 4) -> None:
    """By default as the 256M and the 500M are."""
    tokenizer = byte_tokenizer(
        SPECIAL,
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        bos_token="<|im_start|>",
        chat_template=TEMPLATE,
    )
    text = LlamaConfig(
        **TEXT,
        vocab_size=len(tokenizer) + SPARE,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = SmolVLMConfig(
        vision_config=VISION | {"image_size": tile_px, "patch_size": patch_px},
        text_config=text.to_dict(),
        scale_factor=shuffle,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    tile = {"longest_edge": tile_px}
    sampling = {"fps": 1, "max_frames": 64, "video_size": tile}
    SmolVLMProcessor(
        SmolVLMImageProcessor(size={"longest_edge": long_edge_px}, max_image_size=tile),
        tokenizer,
        SmolVLMVideoProcessor(size=tile, max_image_size=tile, video_sampling=sampling),
        image_seq_len=(tile_px // patch_px // shuffle) ** 2,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    write_weights(lambda: SmolVLMForConditionalGeneration(config), folder)
