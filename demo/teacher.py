"""What the trained demo Qwen2-VL hands down to an InternVL2: its weights where they fit, then its way to see.

The two architectures differ in how they know positions: Qwen2-VL's encoder and language model rotate by row and column,
InternViT adds a learnt vector to each patch, and InternLM2 counts tokens. So the weights alone name colours and no shapes.
Every one of the 16 x 192 numbers that the teacher makes of a picture says how to see it, where an answer of two words says
little: the pupil's encoder learns them first, before it is trained on answers.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from demo.generate import SIZE_PX, Example
from demo.internvl2 import DEVIATION, MEAN, PATCH_PX, InternVl2, normalised, pixels

BATCH = 64
LEARNING_RATE = 1.5e-3
WARMUP_STEPS = 50
# Qwen2-VL takes a still image for two frames of a video.
FRAMES = 2
SIDE = SIZE_PX // PATCH_PX

# Where the words of a prompt mean the same.
SAME_TOKENS = {
    "<|im_start|>": "<|im_start|>",
    "<|im_end|>": "<|im_end|>",
    "<img>": "<|vision_start|>",
    "</img>": "<|vision_end|>",
}
VISION_NAMES = {
    "attention.projection_layer": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


class Teacher:
    """The trained demo Qwen2-VL of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._weights = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
        added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        self._special = {token["content"]: token["id"] for token in added}
        model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self._encoder = model.model.visual.eval()

    def hand_down(self, pupil: InternVl2) -> None:
        """Give the pupil every weight that fits: of the words, the language model's layers, the patches, the encoder's."""
        new = pupil.network.state_dict()
        self._words(new, pupil.words.convert_tokens_to_ids)
        for name in new:
            if name.startswith("model.language_model.layers.") or name == "model.language_model.norm.weight":
                new[name].copy_(self._weights[name.replace("model.language_model.", "model.")])
        self._patches(new)
        for layer in range(pupil.network.config.vision_config.num_hidden_layers):
            self._encoder_layer(new, layer)

    @torch.no_grad()
    def seen(self, batch: list[Example]) -> Tensor:
        """What the teacher's language model gets to see: (pictures, image tokens, width)."""
        pictures = normalised(pixels(batch), OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
        grid = torch.tensor([[1, SIDE, SIDE]] * len(batch))
        return self._encoder(_patches_of(pictures), grid_thw=grid).pooler_output.view(len(batch), (SIDE // 2) ** 2, -1)

    def _words(self, new: dict[str, Tensor], token_id: Callable[[str], int]) -> None:
        table, old = new["model.language_model.embed_tokens.weight"], self._weights["model.embed_tokens.weight"]
        learnt = min(self._special.values())
        table[:learnt] = old[:learnt]
        for to, source in SAME_TOKENS.items():
            table[token_id(to)] = old[self._special[source]]

    def _patches(self, new: dict[str, Tensor]) -> None:
        """One kernel instead of one a frame, for pixels that are normalised otherwise."""
        to = "model.vision_tower.embeddings.patch_embeddings.projection."
        kernel = self._weights["visual.patch_embed.proj.weight"].sum(2)
        mean, deviation, old_mean, old_deviation = map(
            torch.tensor, (MEAN, DEVIATION, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
        )
        new[to + "weight"].copy_(kernel * (deviation / old_deviation).view(3, 1, 1))
        new[to + "bias"].copy_(kernel.sum((2, 3)) @ ((mean - old_mean) / old_deviation))

    def _encoder_layer(self, new: dict[str, Tensor], layer: int) -> None:
        to, source = f"model.vision_tower.encoder.layer.{layer}.", f"visual.blocks.{layer}."
        for kind in ("weight", "bias"):
            for name, old in VISION_NAMES.items():
                new[f"{to}{name}.{kind}"].copy_(self._weights[f"{source}{old}.{kind}"])
            for x, part in zip("qkv", self._weights[f"{source}attn.qkv.{kind}"].chunk(3), strict=True):
                new[f"{to}attention.{x}_proj.{kind}"].copy_(part)


def learn_from(
    teacher: Teacher, pupil: InternVl2, draw: Callable[[random.Random], Example], steps: int, seed: int
) -> None:
    """Take the teacher's weights, then practise until the pupil's encoder sees as the teacher's does.

    Prints the share of what the teacher sees that is left to learn.
    """
    teacher.hand_down(pupil)
    learning = [
        *pupil.network.model.vision_tower.parameters(),
        *pupil.network.model.multi_modal_projector.parameters(),
    ]
    optimizer = torch.optim.AdamW(learning, lr=LEARNING_RATE, weight_decay=0.02, betas=(0.9, 0.95))
    for step in range(steps):
        rng = random.Random(f"{seed}/taught/{step}")
        batch = [draw(rng) for _ in range(BATCH)]
        target = teacher.seen(batch)
        error = pupil.seen(normalised(pixels(batch), MEAN, DEVIATION)) - target
        # Each of the numbers counts alike, whatever its scale.
        loss = (error.square().mean((0, 1)) / (target.var((0, 1)) + 1e-6)).mean()
        share = min(1.0, (step + 1) / WARMUP_STEPS, max(0.02, (steps - step) / (steps / 2)))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % 50 == 49:
            print(f"taught {step + 1}  left to learn {float(loss.detach()):.3f}", flush=True)


def _patches_of(pictures: Tensor) -> Tensor:
    """As Qwen2-VL's processor cuts them: (pictures * patches, 3 * frames * height * width), 2 x 2 neighbours together."""
    count = len(pictures)
    frames = pictures[:, None].expand(count, FRAMES, 3, SIZE_PX, SIZE_PX)
    cut = frames.reshape(count, FRAMES, 3, SIDE // 2, 2, PATCH_PX, SIDE // 2, 2, PATCH_PX)
    return cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(count * SIDE**2, -1)
