"""The tokenizer of the demo models: a byte-level BPE whose merges are learnt from the demo's own sentences.

Runs in an engine environment (tokenizers, transformers), never in the base one.
"""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AddedToken, PreTrainedTokenizerFast

from demo.generate import COLOURS, QUESTIONS, SHAPES, phrase

VOCABULARY = 512
IGNORED = -100  # torch's cross entropy skips this label
# The split of Qwen2's tokenizer, and of InternLM2's in effect: every digit is a token of its own.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer(special: Sequence[str], chat_template: str, **roles: str) -> PreTrainedTokenizerFast:
    """`special` tokens follow the learnt ones in their own order; `roles` are `eos_token`, `pad_token` and so on.

    The learnt tokens depend on how many special ones there are, and on nothing else.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        _sentences(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(special),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles)
    wrapped.add_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    wrapped.chat_template = chat_template
    return wrapped


def _sentences() -> list[str]:
    questions = [question for phrasings in QUESTIONS.values() for question in phrasings]
    answers = [phrase(colour, shape) for colour in COLOURS for shape in SHAPES]
    template = ["system\nYou are a helpful assistant.\n", "user\n", "assistant\n"]
    return [*questions * 4, *answers, *template * 16]
