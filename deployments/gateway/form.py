"""What a caller sends, as data: a JSON object or a query string, read into a pydantic model. What is unknown is refused by name.

Validation is by pydantic, its errors are translated here: they name the field and never repeat its content.
"""

import codecs
from collections import defaultdict
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from accounting.money import parse_usd
from deployments.gateway.errors import BadRequest
from deployments.json_values import JSON_VALUES_MAX, has_too_many_values

QUERY_FIELDS_MAX = 1000
PATH_CHARACTERS_MAX = 120
NO_NUL = r"^[^\x00]*$"
UNIX_S_MAX = 253_402_300_799  # the end of the year 9999
# Of one object. Each unknown field is a fault of its own, and thousands of them are work for nothing.
FIELDS_MAX = 200


class Form(BaseModel):
    """A model of what is sent. Amounts are named `_nano` inside and `_usd` outside, by an alias."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class NullableForm(Form):
    """A form in which a field that is null was not sent: SDKs of some languages write every field that they know."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if len(data) > FIELDS_MAX:
            raise ValueError(f"an object has at most {FIELDS_MAX} fields")
        return {name: value for name, value in data.items() if value is not None}


Dollars = Annotated[int, BeforeValidator(parse_usd), Field(gt=0)]
Currency = Literal["usd"]
UnixSeconds = Annotated[int, Field(ge=0, le=UNIX_S_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
# Of an organisation or project: a part of accounts' names and of paths.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
# Made by the caller, so that a repeat is harmless.
Ref = Annotated[str, Field(min_length=1, max_length=255)]
# Of the caller's own users and the like. It becomes part of an index, whose rows are short: at most 1 KiB of UTF-8, as a
# character is at most 4 bytes. A store takes no NUL.
Identifier = Annotated[str, Field(max_length=256, pattern=NO_NUL)]


def entries_max(count: int) -> BeforeValidator:
    """An object with more entries is one fault, instead of one of each entry."""

    def few(value: object) -> object:
        if isinstance(value, dict) and len(value) > count:
            raise ValueError(f"an object of at most {count} entries is taken")
        return value

    return BeforeValidator(few)


# The caller's own notes, within OpenAI's bounds.
Metadata = Annotated[
    dict[
        Annotated[str, Field(max_length=64, pattern=NO_NUL)],
        Annotated[str, Field(max_length=512, pattern=NO_NUL)],
    ],
    entries_max(16),
]

F = TypeVar("F", bound=Form)

# Fields that are, or have in them, one of several kinds, told apart by a tag.
TAGGED = frozenset({"messages", "content", "response_format"})


def read_body(form: type[F], body: bytes) -> F:
    """Read a JSON object. Raises `BadRequest`."""
    data = json_object(body)
    try:
        return form.model_validate_json(_without_bom(body), strict=True)
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
        if "\0" in value:
            param = name[:PATH_CHARACTERS_MAX]
            raise BadRequest(f"'{param}' has a NUL, which nothing here has. Remove it.", param=param)
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
    body = _without_bom(body)
    if has_too_many_values(body):
        raise BadRequest(f"The body has more than {JSON_VALUES_MAX} values. Send less at once.")
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
    param = _path(data, fault["loc"], is_missing=fault["type"] == "missing") or "the body"
    match fault["type"]:
        case "extra_forbidden":
            # The last step is the caller's own word, of any length: only a name is worth repeating.
            return BadRequest(f"There is no field '{param}'. Remove it or correct its name.", param=param)
        case "missing":
            return BadRequest(f"'{param}' is missing.", param=param)
        case "dict_type" | "model_type" | "model_attributes_type":
            return BadRequest(f"'{param}' is not an object.", param=param)
        case "union_tag_invalid" | "union_tag_not_found":
            is_message = param.startswith("messages[") and "." not in param
            field = f"{param}.{'role' if is_message else 'type'}"
            return BadRequest(f"'{field}' is missing, or of a kind that is not taken here.", param=field)
        case _:
            return BadRequest(f"'{param}': {fault['msg'].removeprefix('Value error, ')}.", param=param)


def _path(data: Any, location: tuple[int | str, ...], *, is_missing: bool) -> str:
    """`messages[0].content[1].image_url`: pydantic's location without the union members that it passed through. Its last step
    is no part of `data` if that is what is missing.
    """
    path, name, node, tagged = "", "", data, False
    for i, step in enumerate(location):
        if isinstance(node, list) and isinstance(step, int):
            path += f"[{step}]"
            node = node[step] if step < len(node) else None
            tagged = name in TAGGED
        elif isinstance(node, dict) and isinstance(step, str):
            if tagged and step in (node.get("role"), node.get("type")):
                tagged = False  # the tag of a union's member comes first, and may be a field's name as well
                continue
            if step not in node and not (is_missing and i == len(location) - 1):
                continue  # the name of a member of a union without tags
            path += f".{step}" if path else step
            node, name = node.get(step), step
            tagged = name in TAGGED
    return path[:PATH_CHARACTERS_MAX]


def _without_bom(body: bytes) -> bytes:
    """Editors on Windows put a mark before a text."""
    return body.removeprefix(codecs.BOM_UTF8)
