"""What Transformers itself answers, one question at a time: `python transformers_reference.py WEIGHTS LONG_EDGE_PX`.

Runs in the engine's environment. Reads [[text, [base64 PNG, ...], max_tokens], ...] and says [[answer, prompt tokens, output
tokens], ...], both as JSON.
"""

import base64
import io
import json
import sys

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

weights, long_edge_px = sys.argv[1], int(sys.argv[2])
processor = AutoProcessor.from_pretrained(weights)
model = AutoModelForImageTextToText.from_pretrained(weights, dtype="float32").eval()
answers = []
for text, pngs, max_tokens in json.load(sys.stdin):
    pictures = [Image.open(io.BytesIO(base64.b64decode(png))) for png in pngs]
    content = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": text}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"images_kwargs": {"size": {"longest_edge": long_edge_px}}},
    )
    with torch.inference_mode():
        (tokens,) = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
    prompt_tokens = inputs["input_ids"].shape[1]
    said = tokens[prompt_tokens:]
    answers.append([processor.decode(said, skip_special_tokens=True), prompt_tokens, len(said)])
print(json.dumps(answers))
