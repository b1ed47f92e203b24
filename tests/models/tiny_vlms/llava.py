"""LLaVA-1.5."""

from pathlib import Path

from checkpoint import SPARE, TEXT, VISION, byte_tokenizer, write_weights
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ ' ' }}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
SIDE_PX, PATCH_PX, TOKENS = 336, 14, 576


def write(folder: Path) -> None:
    tokenizer = byte_tokenizer(
        ["<s>", "</s>", "<unk>", "<image>", "<pad>"],
        eos_token="</s>",
        pad_token="<pad>",
        bos_token="<s>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
    )
    text = LlamaConfig(
        **TEXT | {"num_key_value_heads": 2},
        vocab_size=len(tokenizer) + SPARE,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # The features are taken one layer before the last.
    vision = CLIPVisionConfig(
        **VISION | {"num_hidden_layers": 3}, image_size=SIDE_PX, patch_size=PATCH_PX, projection_dim=64
    )
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=TOKENS,
    )
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}),
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    write_weights(lambda: LlavaForConditionalGeneration(config), folder)
