"""What of a request its model takes, by the model's card. Pure."""

from dataclasses import replace
from typing import Any

from catalog.card import TOOL_PARAMETERS, ModelCard
from deployments.gateway.errors import BadRequest, ContextTooLong
from deployments.gateway.request import OWN_FIELDS, Chat

# Values that ask for nothing: a model that does not know the field does exactly that.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_p": (1,),
    "stop": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "stop_token_ids": ([],),
    "skip_special_tokens": (True,),
}


def without_neutral(chat: Chat, card: ModelCard) -> Chat:
    """The request without fields that ask for nothing: of those that the card does not list, and of tools without any."""
    unknown = {name for name in chat.data if name not in card.supported_parameters}
    dropped = {name for name in unknown if chat.data[name] in NEUTRAL.get(name, ())}
    if not chat.request.tools:
        dropped |= TOOL_PARAMETERS
    elif chat.request.tool_choice == "none":
        dropped |= TOOL_PARAMETERS & unknown
    return replace(chat, data={name: value for name, value in chat.data.items() if name not in dropped})


def check_against_card(chat: Chat, card: ModelCard) -> None:
    """Refuse what this model cannot do. Raises `BadRequest` or `ContextTooLong`."""
    if strange := chat.data.keys() - OWN_FIELDS - set(card.supported_parameters):
        name = min(strange)
        raise BadRequest(f"The model does not take '{name}'. Remove it.", param=name)
    _check_output(chat, card)
    _check_vocabulary(chat, card.vocabulary_tokens)
    if chat.request.text_bytes() > card.limits.text_bytes_max:
        raise ContextTooLong(card.context_tokens)


def _check_output(chat: Chat, card: ModelCard) -> None:
    asked, most = chat.request.output_tokens_asked, card.limits.output_tokens_max
    if asked is not None and asked > most:
        name = "max_completion_tokens" if chat.request.max_completion_tokens else "max_tokens"
        raise BadRequest(f"'{name}' is above this model's {most}.", param=name)
    most = asked or card.limits.output_tokens_default
    if (chat.request.min_tokens or 0) > most:
        raise BadRequest(f"'min_tokens' is above the answer's {most} tokens.", param="min_tokens")


def _check_vocabulary(chat: Chat, tokens: int) -> None:
    """An engine reaches beyond its tables by an id that is not in them, and ends."""
    request = chat.request
    if (request.top_k or 0) > tokens:
        raise BadRequest(f"'top_k' is above the {tokens} tokens that the model knows.", param="top_k")
    named = {f"stop_token_ids[{i}]": token_id for i, token_id in enumerate(request.stop_token_ids or ())}
    named |= {f"logit_bias.{token_id}": int(token_id) for token_id in request.logit_bias or ()}
    for param, token_id in named.items():
        if token_id >= tokens:
            raise BadRequest(f"'{param}': the model's token ids are 0 to {tokens - 1}.", param=param)
