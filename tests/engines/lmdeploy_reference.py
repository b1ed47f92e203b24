"""What a tiny InternVL2 answers in Transformers: `python lmdeploy_reference.py FOLDER < questions > answers`, in LMDeploy's
environment. FOLDER is what `tests/models/tiny_internvl2.py` wrote.

Questions are JSON: a list of [text, images as base64, tokens at most]. Answers are [text, prompt tokens, output tokens],
decoded greedily in float32, the token that ended an answer counted.
"""

import base64
import io
import json
import sys
from pathlib import Path

import torch
from lmdeploy.vl.model.internvl import dynamic_preprocess
from PIL import Image
from torchvision.transforms import v2
from transformers import AutoTokenizer, InternVLForConditionalGeneration

TILE_PX, TILE_TOKENS, TILES_MAX = 448, 256, 12
to_pixels = v2.Compose(
    [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ]
)


def tiles_of(encoded: str) -> torch.Tensor:
    """[tiles, 3, 448, 448]. The cutting is LMDeploy's: what is compared here is the model."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    tiles = dynamic_preprocess(image, max_num=TILES_MAX, image_size=TILE_PX, use_thumbnail=True)
    return torch.stack([to_pixels(tile) for tile in tiles])


def main(folder: Path) -> None:
    """Answer every question."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "native")
    model = InternVLForConditionalGeneration.from_pretrained(folder / "native", dtype=torch.float32).eval()
    stops = json.loads((folder / "original" / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    answers = []
    for text, images, tokens_max in json.load(sys.stdin):
        pictures = [tiles_of(image) for image in images]
        marks = ["<img>" + "<IMG_CONTEXT>" * TILE_TOKENS * len(tiles) + "</img>\n" for tiles in pictures]
        message = {"role": "user", "content": "".join(marks) + text}
        prompt = tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        pixels = {"pixel_values": torch.cat(pictures)} if pictures else {}
        (tokens,) = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            **pixels,
            do_sample=False,
            max_new_tokens=tokens_max,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
        prompt_tokens = inputs["input_ids"].shape[1]
        answer = tokenizer.decode(tokens[prompt_tokens:], skip_special_tokens=True)
        answers.append([answer, prompt_tokens, len(tokens) - prompt_tokens])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
