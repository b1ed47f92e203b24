"""A stand-in for Moondream 2's published checkpoint: `python moondream_standin FOLDER`, in an environment with Transformers.

Its publisher's code is not ours to keep here. This has its shape, as far as our server relies on it, and no vision model: the
answer depends on the picture's colour and on the question, letter by letter.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.convert_slow_tokenizer import bytes_to_unicode

WIDTH, TOKENS = 32, 260


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).parent / "hf_moondream.py", folder)
    config = {"architectures": ["HfMoondream"], "model_type": "moondream1", "torch_dtype": "float32"}
    config |= {"auto_map": {"AutoConfig": "hf_moondream.HfConfig", "AutoModelForCausalLM": "hf_moondream.HfMoondream"}}
    # Where the published code asks the hub for it.
    config |= {"tokenizer_file": str(folder / "tokenizer.json"), "width": WIDTH, "tokens": TOKENS}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {text: number + 4 for number, text in enumerate(bytes_to_unicode().values())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    weights = {"model.wte": torch.randn(TOKENS, WIDTH), "model.head": torch.randn(TOKENS, WIDTH) / 4}
    weights |= {"model.colour": torch.randn(3, WIDTH) / 64}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    write(Path(sys.argv[1]))
