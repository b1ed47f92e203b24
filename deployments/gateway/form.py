"""What a caller sends, as data: a JSON object or a query string, read into a pydantic model. What is unknown is refused by name.

Validation is by pydantic, its errors are translated here: they name the field and never repeat its content.
"""

from collections import defaultdict
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from accounting.money import parse_usd
from deployments.gateway.errors import BadRequest

QUERY_FIELDS_MAX = 1000
PATH_CHARACTERS_MAX = 120
UNIX_S_MAX = 253_402_300_799  # the end of the year 9999


class Form(BaseModel):
    """A model of what is sent. Amounts are named `_nano` inside and `_usd` outside, by an alias."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


Dollars = Annotated[int, BeforeValidator(parse_usd), Field(gt=0)]
Currency = Literal["usd"]
UnixSeconds = Annotated[int, Field(ge=0, le=UNIX_S_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
# Of an organisation or project: a part of accounts' names and of paths.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
# Made by the caller, so that a repeat is harmless.
Ref = Annotated[str, Field(min_length=1, max_length=255)]

F = TypeVar("F", bound=Form)


def read_body(form: type[F], body: bytes) -> F:
    """Read a JSON object. Raises `BadRequest`."""
    data = json_object(body)
    try:
        return form.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise refusal(error, data) from None


def read_query(form: type[F], query: bytes) -> F:
    """Read a query string, in which `name[]=` and a repeated `name=` are lists. Raises `BadRequest`."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise BadRequest(f"The query has more than {QUERY_FIELDS_MAX} fields. Ask for less at once.") from None
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        values[name.removesuffix("[]")].append(value)
    data = {name: several if len(several) > 1 else several[0] for name, several in values.items()}
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data) from None


def as_list(value: object) -> object:
    """A field of a query that was sent once is a list of one."""
    return value if isinstance(value, list) else [value]


def json_object(body: bytes) -> dict[str, Any]:
    """Raises `BadRequest`."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The body is not valid JSON. Send one JSON object, encoded as UTF-8.") from error
    if not isinstance(data, dict):
        raise BadRequest("The body is not a JSON object.")
    return data


def refusal(error: ValidationError, data: dict[str, Any]) -> BadRequest:
    """What is wrong with `data`: of several faults, the one that got furthest into it."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    # Of the members of a union, that is the one that was meant.
    fault = max(faults, key=lambda fault: (len(fault["loc"]), fault["type"] != "string_type"))
    param = _path(data, fault["loc"]) or "the body"
    match fault["type"]:
        case "extra_forbidden":
            # The last step is the caller's own word, of any length: only a name is worth repeating.
            return BadRequest(f"There is no field '{param}'. Remove it or correct its name.", param=param)
        case "missing":
            return BadRequest(f"'{param}' is missing.", param=param)
        case "union_tag_invalid" | "union_tag_not_found":
            field = f"{param}.{'role' if param.count('.') == 0 else 'type'}"
            return BadRequest(f"'{field}' is missing, or of a kind that is not taken here.", param=field)
        case _:
            return BadRequest(f"'{param}': {fault['msg'].removeprefix('Value error, ')}.", param=param)


def _path(data: Any, location: tuple[int | str, ...]) -> str:
    """`messages[0].content[1].image_url`: pydantic's location without the union members that it passed through."""
    path, name, node, tagged = "", "", data, False
    for step in location:
        if isinstance(node, list) and isinstance(step, int):
            path += f"[{step}]"
            node = node[step] if step < len(node) else None
            tagged = name in ("messages", "content")
        elif isinstance(node, dict) and isinstance(step, str):
            if tagged and step in (node.get("role"), node.get("type")):
                tagged = False  # the tag of a union's member comes first, and may be a field's name as well
                continue
            path += f".{step}" if path else step
            node, name = node.get(step), step
    return path[:PATH_CHARACTERS_MAX]
