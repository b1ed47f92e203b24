from typing import Any, get_args

import orjson
import pytest
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from typing_extensions import get_type_hints, is_typeddict

from deployments.gateway import request as request_module
from deployments.gateway.answer import MESSAGE_FIELDS
from deployments.gateway.errors import BadRequest
from deployments.gateway.form import Form
from deployments.gateway.request import OWN_FIELDS, AssistantMessage, ChatRequest, parse

SECRET = "correct-horse-battery-staple " * 50
USER = {"role": "user", "content": "What is this?"}
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}

TOOL = {"type": "function", "function": {"name": "look"}}


def body(**fields: Any) -> bytes:
    return orjson.dumps({"model": "demo", "messages": [USER]} | fields)


def json_schema(schema: Any) -> bytes:
    return body(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})


def messages(*sent: Any) -> bytes:
    return body(messages=sent)


def parts(*sent: Any) -> bytes:
    return messages({"role": "user", "content": sent})


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        (b"", None, "not valid JSON"),
        (b'{"model": ', None, "not valid JSON"),
        (b'{"model": "\xff"}', None, "not valid JSON"),
        (b"[" * 100_000, None, "not valid JSON"),
        (b"[]", None, "not a JSON object"),
        (b'{"model": "demo"}', "messages", "is missing"),
        (b'{"messages": []}', "model", "is missing"),
        (body(messages=[]), "messages", "at least 1 item"),
        (body(messages="hello"), "messages", "valid list"),
        (body(temprature=1), "temprature", "There is no field 'temprature'"),
        (body(temperature=2.1), "temperature", "less than or equal to 2"),
        (body(top_p=0), "top_p", "greater than or equal to"),
        (body(max_tokens=0), "max_tokens", "greater than 0"),
        (body()[:-1] + b',"max_tokens":' + b"9" * 30 + b"}", "max_tokens", "integer"),
        (body(n=2), "n", "should be 1"),
        (body(store=True), "store", "should be False"),
        (body(service_tier="flex"), "service_tier", "'auto' or 'default'"),
        (body(stop=[1]), "stop[0]", "valid string"),
        (body(stop=""), "stop", "at least 1 character"),
        (body(stop=["a", ""]), "stop[1]", "at least 1 character"),
        (body(stop=["a"] * 129), "stop", "at most 128"),
        (body(stop=5), "stop", "valid"),
        (body(stop_token_ids=[1, -1]), "stop_token_ids[1]", "greater than or equal to 0"),
        (body(stop_token_ids=["1"]), "stop_token_ids[0]", "valid integer"),
        (body(seed=2**63), "seed", "less than or equal to"),
        (body(top_k=-2), "top_k", "greater than or equal to -1"),
        (body(repetition_penalty=1e-9), "repetition_penalty", "greater than or equal to 0.01"),
        (body(repetition_penalty=1e300), "repetition_penalty", "less than or equal to 100"),
        (body(logit_bias={"1": 101}), "logit_bias.1", "less than or equal to 100"),
        (body(logit_bias={"one": 1}), "logit_bias.one", "match pattern"),
        (body(logit_bias={str(i): 0 for i in range(1025)}), "logit_bias", "at most 1024 entries"),
        (body(top_logprobs=2), "top_logprobs", "needs 'logprobs'"),
        (body(tools=[1]), "tools[0]", "is not an object"),
        (body(tools=[TOOL] * 129), "tools", "at most 128"),
        (body(tools=[{"type": "retrieval", "function": {"name": "a"}}]), "tools[0].type", "'function'"),
        (body(tools=[TOOL | {"function": {"name": "a b"}}]), "tools[0].function.name", "match pattern"),
        (
            body(tools=[{"type": "function", "function": {"name": "a", "parameters": {"type": "x"}}}]),
            "tools[0].function.parameters.type",
            "a type is one of",
        ),
        (body(tool_choice="any", tools=[TOOL]), "tool_choice", "'none', 'auto' or 'required'"),
        (body(tool_choice="required"), "tool_choice", "'tools' has none"),
        (body(tool_choice={"type": "function"}, tools=[TOOL]), "tool_choice.function", "is missing"),
        (
            body(tool_choice={"type": "function", "function": {"name": "gone"}}, tools=[TOOL]),
            "tool_choice.function.name",
            "'tools' does not have",
        ),
        (body(response_format={}), "response_format.type", "is missing"),
        (body(response_format={"type": "xml"}), "response_format.type", "not taken"),
        (body(response_format="json"), "response_format", "is not an object"),
        (body(response_format={"type": "text", "mood": 1}), "response_format.mood", "There is no field"),
        (body(response_format={"type": "json_schema"}), "response_format.json_schema", "is missing"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
            "response_format.json_schema.name",
            "is missing",
        ),
        (json_schema(None), "response_format.json_schema.schema", "is missing"),
        (json_schema(False), "response_format.json_schema.schema", "is not an object"),
        (json_schema({"$ref": "#"}), "response_format.json_schema.schema.$ref", "without an end"),
        (body(metadata={"team": 1}), "metadata.team", "valid string"),
        (body(metadata={"team": "a" * 513}), "metadata.team", "at most 512"),
        (body(metadata={"t" * 65: "a"}), "metadata." + "t" * 65, "at most 64"),
        (body(metadata={"team": "\0"}), "metadata.team", "match pattern"),
        (body(metadata={str(i): "a" for i in range(17)}), "metadata", "at most 16 entries"),
        (body(user="u" * 257), "user", "at most 256"),
        (body(user="a\0b"), "user", "match pattern"),
        (body(safety_identifier="u" * 257), "safety_identifier", "at most 256"),
        (body(prompt_cache_key=["k"]), "prompt_cache_key", "valid string"),
        (body(modalities=["text", "audio"]), "modalities", "at most 1"),
        (body(modalities=["audio"]), "modalities[0]", "'text'"),
        (body(web_search_options={}), "web_search_options", "There is no field"),
        (body(functions=[]), "functions", "There is no field"),
        (body(best_of=1), "best_of", "There is no field"),
        (body(stream_options={"usage": True}), "stream_options.usage", "There is no field"),
        (messages("hello"), "messages[0]", "is not an object"),
        (messages({"content": "hello"}), "messages[0].role", "is missing"),
        (messages({"role": "robot", "content": "hello"}), "messages[0].role", "not taken"),
        (messages({"role": "user"}), "messages[0].content", "is missing"),
        (messages({"role": "user", "content": None}), "messages[0].content", "is missing"),
        (messages({"role": "user", "content": []}), "messages[0].content", "valid"),
        (messages({"role": "user", "content": {}}), "messages[0].content", "valid"),
        (messages({"role": "user", "content": TEXT}), "messages[0].content", "valid"),
        (messages({"role": "user", "content": 5}), "messages[0].content", "valid"),
        (messages({"role": "assistant", "content": TEXT}), "messages[0].content", "valid"),
        (messages(USER, {"role": "tool", "tool_call_id": "a", "content": TEXT}), "messages[1].content", "valid"),
        (body(stop={"a": "b"}), "stop", "valid"),
        (body(tool_choice={"mode": "auto"}, tools=[TOOL]), "tool_choice.type", "is missing"),
        (messages(USER, {"role": "tool", "content": "4"}), "messages[1].tool_call_id", "is missing"),
        (messages(USER | {"mood": "good"}), "messages[0].mood", "There is no field"),
        (messages({"role": "system", "content": [IMAGE]}), "messages[0].content[0].type", "'text'"),
        (
            messages({"role": "assistant", "tool_calls": [TOOL_CALL | {"function": {"name": "look"}}]}),
            "messages[0].tool_calls[0].function.arguments",
            "is missing",
        ),
        (parts("hello"), "messages[0].content[0]", "is not an object"),
        (parts({"type": "text"}), "messages[0].content[0].text", "is missing"),
        (parts(TEXT, {"type": "input_audio"}), "messages[0].content[1].type", "not taken"),
        (parts(TEXT, {"text": "hello"}), "messages[0].content[1].type", "is missing"),
        (parts(TEXT, IMAGE | {"image_url": "https://x"}), "messages[0].content[1].image_url", "is not an object"),
        (parts(TEXT, IMAGE | {"image_url": {}}), "messages[0].content[1].image_url.url", "is missing"),
        (
            parts(IMAGE | {"image_url": {"url": "https://x", "detail": "huge"}}),
            "messages[0].content[0].image_url.detail",
            "'auto', 'low', 'high' or 'original'",
        ),
    ],
)
def test_a_bad_body_is_refused_by_the_name_of_the_field(sent: bytes, param: str | None, says: str):
    """The error names the field at fault by its path in the body, and says what it should be."""
    with pytest.raises(BadRequest) as refused:
        parse(sent)
    assert refused.value.param == param
    assert says in refused.value.message


@pytest.mark.parametrize(
    "sent",
    [
        SECRET.encode(),
        orjson.dumps([SECRET]),
        body(temperature=SECRET),
        body(messages=SECRET),
        body(n=SECRET),
        body(metadata={"team": [SECRET]}),
        body(frobnicate=SECRET),
        messages(SECRET),
        messages({"role": SECRET, "content": "hello"}),
        messages({"role": "user", "content": {"text": SECRET}}),
        messages(USER | {"mood": SECRET}),
        parts(SECRET),
        parts({"type": SECRET}),
        parts(TEXT, IMAGE | {"image_url": SECRET}),
        parts(TEXT, {"type": "image_url", "image_url": {"url": "https://x", "detail": SECRET}}),
    ],
)
def test_no_error_repeats_a_value(sent: bytes):
    """Whatever is wrong, not even a part of what the caller sent as a value comes back."""
    with pytest.raises(BadRequest) as refused:
        parse(sent)
    assert "horse" not in refused.value.encoded().decode()


@pytest.mark.parametrize("sent", [body(**{SECRET: 1}), body(metadata={SECRET: 1}), messages(USER | {SECRET: 1})])
def test_an_overlong_name_is_cut(sent: bytes):
    """A field's name is repeated so far as a name can be meant by it."""
    with pytest.raises(BadRequest) as refused:
        parse(sent)
    assert SECRET not in refused.value.message
    assert len(refused.value.message) < 300


PASSED_ON = {
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "stop": ["\n"],
    "logprobs": True,
    "top_logprobs": 0,
    "presence_penalty": -2,
    "frequency_penalty": 2,
    "logit_bias": {"42": -100},
    "response_format": {"type": "json_object"},
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "ignore_eos": True,
    "min_tokens": 1,
    "top_k": -1,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "stop_token_ids": [1, 2],
    "skip_special_tokens": False,
}
OWN = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 9,
    "max_tokens": 9,
    "n": 1,
    "user": "u_1",
    "metadata": {"team": "blue"},
    "store": False,
    "service_tier": "auto",
}
IGNORED = {
    "safety_identifier": "u_1",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "explicit"},
    "verbosity": "low",
    "reasoning_effort": "low",
    "modalities": ["text"],
    "prediction": {"type": "content", "content": "x"},
    "usage": {"include": True},
    "provider": {"sort": "price"},
    "models": ["a/b"],
}
UNSET = parse(body()).request


@pytest.mark.parametrize(("name", "value"), (PASSED_ON | OWN | IGNORED).items())
def test_every_parameter_is_accepted(name: str, value: Any):
    """A parameter that we know is taken as OpenAI's clients send it; one that is null was not sent."""
    assert getattr(parse(body(**{name: value})).request, name) is not None
    assert parse(body(**{name: None})) == parse(body())
    assert getattr(parse(body(**{name: None})).request, name) == getattr(UNSET, name)


@pytest.mark.parametrize(("name", "value"), IGNORED.items())
def test_what_means_nothing_here_is_named_and_not_passed_on(name: str, value: Any):
    chat = parse(body(**{name: value}))
    assert chat.ignored == (name,)
    assert name not in chat.data


def test_an_answer_is_taken_back_as_sdks_and_we_gave_it():
    """Nothing of it goes to the engine but what a message is; the rest is named once, however often it is there."""
    said = {"role": "assistant", "content": "red", "refusal": None, "tool_calls": [TOOL_CALL | {"index": 0}]}
    extra = {"annotations": [], "audio": None, "function_call": None, "boxes": [], "points": [], "reasoning": "hm"}
    chat = parse(messages(USER, said | extra, USER, said | extra))
    assert chat.data["messages"] == [USER, {"role": "assistant", "content": "red", "tool_calls": [TOOL_CALL]}] * 2
    assert chat.ignored == (
        "messages[].annotations",
        "messages[].boxes",
        "messages[].points",
        "messages[].reasoning",
        "messages[].tool_calls[].index",
    )


# Of OpenAI's own types, what is refused: it asks for something that is not done here.
REFUSED = {
    "audio", "function_call", "functions", "moderation", "web_search_options",
    "messages.audio", "messages.function_call", "messages.content.input_audio",
    "messages.tool_calls.custom", "tools.custom", "tool_choice.custom", "tool_choice.allowed_tools",
}  # fmt: skip


# What is below them is nobody's business here.
NOT_READ = REFUSED | IGNORED.keys() | {"messages.content.prompt_cache_breakpoint"}


def fields_of_openai(kind: Any, path: str = "") -> set[str]:
    """The paths of all fields of a request type."""
    found: set[str] = set()
    for form in typed_dicts(kind):
        for name, within in get_type_hints(form).items():
            found.add(path + name)
            if path + name not in NOT_READ:
                found |= fields_of_openai(within, f"{path}{name}.")
    return found


def fields_of_ours(kind: Any, path: str = "") -> set[str]:
    found: set[str] = set()
    for form in forms(kind):
        for name, field in form.model_fields.items():
            found.add(path + (field.alias or name))
            found |= fields_of_ours(field.annotation, f"{path}{name}.")
    return found


def typed_dicts(kind: Any) -> list[Any]:
    return [kind] if is_typeddict(kind) else [one for arg in get_args(kind) for one in typed_dicts(arg)]


def forms(kind: Any) -> list[type[Form]]:
    is_form = isinstance(kind, type) and issubclass(kind, Form)
    return [kind] if is_form else [one for arg in get_args(kind) for one in forms(arg)]


def test_every_field_of_openai_is_taken_or_refused():
    """Here is which; the rest of its types is known, honoured or ignored."""
    theirs, ours = fields_of_openai(CompletionCreateParamsBase), fields_of_ours(ChatRequest)
    assert len(theirs) > 60
    assert theirs - ours == REFUSED


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_of_openai_is_refused_by_name(name: str):
    """Whatever its value is."""
    *path, field = name.split(".")
    match path:
        case []:
            sent, param = body(**{name: {}}), name
        case ["messages", "content"]:
            sent, param = parts({"type": field, field: {}}), "messages[0].content[0].type"
        case ["messages", "tool_calls"]:
            calls = [{"id": "c", "type": field, field: {}}]
            sent, param = messages({"role": "assistant", "tool_calls": calls}), "messages[0].tool_calls[0].type"
        case ["messages"]:
            sent, param = messages({"role": "assistant", "content": "a", field: {}}), f"messages[0].{field}"
        case ["tools"]:
            sent, param = body(tools=[{"type": field, field: {}}]), "tools[0].type"
        case _:
            sent, param = body(tools=[TOOL], tool_choice={"type": field, field: {}}), "tool_choice.type"
    with pytest.raises(BadRequest) as refused:
        parse(sent)
    assert refused.value.param in (param, param.replace(".type", f".{field}"), param.replace(".type", ".function"))


@pytest.mark.parametrize("exclude_none", [False, True])
def test_an_answer_of_ours_is_taken_back_as_openais_client_dumps_it(exclude_none: bool):
    """With what is ours beside OpenAI's, which its types keep."""
    said = {"role": "assistant", "content": "red", "boxes": [{"box": [0, 0, 1, 1]}], "reasoning": "hm"}
    message = ChatCompletionMessage.construct(**said)
    assert parse(messages(USER, message.model_dump(exclude_none=exclude_none), USER)).data["messages"][1] == {
        "role": "assistant",
        "content": "red",
    }


def test_the_parts_of_a_stream_are_taken_back_put_together():
    """As agents do it: the last delta over the first one, calls with their index."""
    calls = [ChoiceDeltaToolCall(index=0, **TOOL_CALL)]
    deltas = [ChoiceDelta(role="assistant", content=""), ChoiceDelta(content=None, tool_calls=calls)]
    together: dict[str, Any] = {}
    for delta in deltas:
        together |= delta.model_dump(exclude_unset=True)
    assert parse(messages(USER, together)).data["messages"][1] == {"role": "assistant", "tool_calls": [TOOL_CALL]}


def test_every_field_that_our_answers_have_can_be_sent_back():
    assert set(MESSAGE_FIELDS) <= set(AssistantMessage.model_fields)


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (messages(USER | {"name": None}), ("messages", 0, "name")),
        (parts(IMAGE | {"image_url": {"url": "https://x", "detail": None}}), ("messages", 0, "content", 0, "image_url", "detail")),
        (body(stream_options={"include_usage": None}), ("stream_options", "include_usage")),
    ],
)  # fmt: skip
def test_null_is_unset_in_depth(sent: bytes, path: tuple[Any, ...]):
    """And nothing of it is passed on."""
    node: Any = parse(sent).data
    for step in path[:-1]:
        node = node[step]
    assert path[-1] not in node


@pytest.mark.parametrize(("sent", "meant"), [(1e-300, 0.0), (9.9e-6, 0.0), (1e-5, 1e-5), (0, 0.0)])
def test_a_temperature_of_next_to_nothing_is_none(sent: float, meant: float):
    """An engine divides by it."""
    chat = parse(body(temperature=sent))
    assert chat.request.temperature == chat.data["temperature"] == meant


@pytest.mark.parametrize(
    "sent",
    [
        b'{"model": "demo", "messages": [' + b"{}," * 40_000 + b"{}]}",
        body(**{f"field_{i}": 1 for i in range(201)}),
        messages(USER | {f"field_{i}": 1 for i in range(201)}),
        body(metadata={str(i): 1 for i in range(90_000)}),
        body(stop_token_ids=["1"] * 90_000),
        body(messages=[1] * 90_000),
        parts(*[1] * 90_000),
        parts(*[1] * 1_000),
        messages(*[{"role": "assistant", "tool_calls": [1] * 128}] * 15),
        messages(*[USER | {f"field_{i}": 1 for i in range(5)}] * 1_000),
        body(tools=[1] * 128),
    ],
)
def test_a_fault_tens_of_thousands_of_times_over_is_a_few(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    """What is put into words is bounded, whatever is sent."""
    counted: list[int] = []
    monkeypatch.setattr(
        request_module, "refusal", lambda error, data: counted.append(error.error_count()) or BadRequest("")
    )
    with pytest.raises(BadRequest):
        parse(sent)
    assert sum(counted) < 10


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        (body(prediction=[1] * 100_000), None, "values"),
        (messages(*[USER | {"content": [TEXT] * 3}] * 667), "messages", "parts and tool calls"),
        (messages(*[{"role": "assistant", "tool_calls": [TOOL_CALL] * 100}] * 21), "messages", "parts and tool calls"),
        (
            body(tools=[{"type": "function", "function": {"name": "a", "parameters": {"title": "a" * 1000}}}] * 100),
            "tools[64].function.parameters",
            "schemas are above",
        ),
    ],
)
def test_what_would_take_long_to_read_is_refused(sent: bytes, param: str | None, says: str):
    """A hundred lists within their bounds are beyond one together: nothing else runs while they are read."""
    with pytest.raises(BadRequest, match=says) as refused:
        parse(sent)
    assert refused.value.param == param


def test_the_tables_above_are_complete():
    """Every field of a request is ours to decide, passed on, or ignored."""
    assert set(OWN) | {"model", "messages"} == OWN_FIELDS
    assert set(PASSED_ON) == set(ChatRequest.model_fields) - OWN_FIELDS - set(IGNORED)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [TEXT]},
        {"role": "user", "name": "ann", "content": [TEXT, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
        {"role": "assistant", "content": [TEXT, {"type": "refusal", "refusal": "No."}], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "4"},
    ],
)
def test_every_kind_of_message_is_accepted(message: dict[str, Any]):
    """All of OpenAI's roles can be sent, in each form of content that we take."""
    sent = {name: value for name, value in message.items() if value is not None}
    assert parse(messages(message)).data["messages"] == [sent]


def test_the_newer_name_of_the_output_limit_wins():
    """`max_completion_tokens` replaced `max_tokens`."""
    assert parse(body(max_tokens=5)).request.output_tokens_asked == 5
    assert parse(body(max_tokens=5, max_completion_tokens=6)).request.output_tokens_asked == 6
    assert parse(body()).request.output_tokens_asked is None


@pytest.mark.parametrize("part", [IMAGE, {"type": "file", "file": {"file_id": "file-1"}}])
def test_no_client_names_its_own_picture(part: dict[str, Any]):
    """vLLM would show whatever it had under that name, whosever it was."""
    with pytest.raises(BadRequest) as refused:
        parse(messages({"role": "user", "content": [part | {"uuid": "mine"}]}))
    assert refused.value.param == "messages[0].content[0].uuid"


@pytest.mark.parametrize("file", [{}, {"filename": "a.pdf"}, {"file_id": "file-1", "file_data": "AAAA"}])
def test_a_file_is_named_or_sent(file: dict[str, Any]):
    """One of both."""
    with pytest.raises(BadRequest, match="exactly one of file_id and file_data") as refused:
        parse(messages({"role": "user", "content": [{"type": "file", "file": file}]}))
    assert refused.value.param == "messages[0].content[0].file"


@pytest.mark.parametrize("file_id", ["", "1", "https://example.org/a.pdf", "s3://bucket/a", "file-../a"])
def test_the_id_of_a_file_is_nothing_else(file_id: str):
    """No address, no path."""
    with pytest.raises(BadRequest) as refused:
        parse(messages({"role": "user", "content": [{"type": "file", "file": {"file_id": file_id}}]}))
    assert refused.value.param == "messages[0].content[0].file.file_id"


def test_images_come_in_order_with_their_path():
    """Images are counted through all messages; each knows where it stood."""
    sent = messages({"role": "user", "content": [TEXT, IMAGE]}, USER, {"role": "user", "content": [IMAGE, IMAGE]})
    assert [place.param for place, _ in parse(sent).request.media()] == [
        "messages[0].content[1].image_url",
        "messages[2].content[0].image_url",
        "messages[2].content[1].image_url",
    ]


@pytest.mark.parametrize(
    "sent",
    [
        messages({"role": "user", "content": "größer 🔴"}),
        messages(
            {"role": "system", "content": "größer "}, {"role": "user", "content": [{"type": "text", "text": "🔴"}]}
        ),
        messages({"role": "assistant", "content": [{"type": "refusal", "refusal": "größer 🔴"}]}),
        messages(
            {"role": "assistant", "tool_calls": [TOOL_CALL | {"function": {"name": "look", "arguments": "größer 🔴"}}]}
        ),
        body(tools=[{"type": "function", "function": {"name": "look", "description": "größer 🔴"}}]),
    ],
)
def test_text_bytes_bound_the_text(sent: bytes):
    """All text that becomes prompt is counted in UTF-8 bytes; no byte-level tokenizer makes more tokens of it."""
    assert parse(sent).request.text_bytes() >= len("größer 🔴".encode())


def test_an_image_is_no_text():
    """A data URL costs vision tokens, not its length in base64."""
    big = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    assert parse(parts(big)).request.text_bytes() < 100


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (body(mm_processor_kwargs={"max_pixels": 10**9}), "mm_processor_kwargs"),
        (body(media_io_kwargs={"video": {"num_frames": -1}}), "media_io_kwargs"),
        (body(max_dynamic_patch=40), "max_dynamic_patch"),
        (body(min_pixels=10**9), "min_pixels"),
        (body(max_pixels=10**9), "max_pixels"),
        (parts(IMAGE | {"max_dynamic_patch": 40}), "messages[0].content[0].max_dynamic_patch"),
        (
            parts(IMAGE | {"image_url": IMAGE["image_url"] | {"max_dynamic_patch": 40}}),
            "messages[0].content[0].image_url.max_dynamic_patch",
        ),
        (
            parts(IMAGE | {"image_url": IMAGE["image_url"] | {"min_pixels": 10**9}}),
            "messages[0].content[0].image_url.min_pixels",
        ),
        (
            parts(IMAGE | {"image_url": IMAGE["image_url"] | {"max_pixels": 10**9}}),
            "messages[0].content[0].image_url.max_pixels",
        ),
    ],
)
def test_a_client_cannot_undo_a_limit_of_the_card(sent: bytes, param: str):
    """The engines would take these from a request: they lift pixels, tiles and frames above what was priced."""
    with pytest.raises(BadRequest, match="There is no field") as refused:
        parse(sent)
    assert refused.value.param == param
