"""The shape of Moondream 2's published code, as far as our server relies on it: a model that forgets `post_init`, wraps
another, keeps one state, and tells its answer word by word.
"""

from types import SimpleNamespace

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

EOS = 0


class HfConfig(PretrainedConfig):
    model_type = "moondream1"


class Inner(nn.Module):
    def __init__(self, config):
        super().__init__()
        templates = {"query": {"prefix": [1, 2], "suffix": [3]}}
        self.config = SimpleNamespace(tokenizer=SimpleNamespace(templates=templates, eos_id=EOS))
        self.tokenizer = Tokenizer.from_file(config.tokenizer_file)
        self.wte = nn.Parameter(torch.empty(config.tokens, config.width))
        self.head = nn.Parameter(torch.empty(config.tokens, config.width))
        self.colour = nn.Parameter(torch.empty(3, config.width))
        self.state = None

    def _decode_one_tok(self, x, attn_mask, pos_ids, lora=None):
        self.state = torch.tanh(self.state.roll(1, -1) + x)
        return self.state @ self.head.T, self.state

    def query(self, image=None, question=None, reasoning=False, spatial_refs=None, stream=False, settings=None):
        self.state = torch.zeros(1, self.wte.shape[1])
        if image is not None:
            self.state = torch.tensor(image.resize((1, 1)).getpixel((0, 0))).float()[None] @ self.colour
        for token in [1, 2, *self.tokenizer.encode(question).ids, 3]:
            self.state = torch.tanh(self.state.roll(1, -1) + self.wte[token])
        return {"answer": self._told(self.state @ self.head.T, **settings)}

    def _told(self, logits, max_tokens, temperature, top_p):
        def chosen(logits):
            return logits.argmax(-1) if not temperature else torch.multinomial((logits / temperature).softmax(-1), 1)[0]

        token, said, told, generated = chosen(logits), [], 0, 0
        while token.item() != EOS and generated < max_tokens:
            said.append(token.item())
            text = self.tokenizer.decode(said)
            if " " in text[told:]:
                yield text[told : text.rindex(" ") + 1]
                told = text.rindex(" ") + 1
            logits, _ = self._decode_one_tok(self.wte[token], None, None, None)
            token, generated = chosen(logits), generated + 1
        if self.tokenizer.decode(said)[told:]:
            yield self.tokenizer.decode(said)[told:]


class HfMoondream(PreTrainedModel):
    config_class = HfConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = Inner(config)

    @property
    def query(self):
        return self.model.query
