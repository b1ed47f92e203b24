"""Forms, as HTTP clients send them, in pieces of any size."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.errors import BadRequest
from deployments.gateway.multipart import FIELD_BYTES_MAX, FIELDS_MAX, FormReader

CONTENT = b"one\r\n--two\r\n" + bytes(range(256))


def encoded(fields: dict[str, str], content: bytes = CONTENT, filename: str = "a.jsonl") -> tuple[str, bytes]:
    """Content type and body, as httpx (and so OpenAI's client) makes them."""
    request = httpx.Request("POST", "http://x", data=fields, files={"file": (filename, content)})
    return request.headers["content-type"], request.read()


def read(content_type: str, body: bytes, size: int = 2**16) -> tuple[FormReader, bytes]:
    form = FormReader(content_type)
    return form, b"".join(form.feed(body[start : start + size]) for start in range(0, len(body), size))


@given(st.binary(max_size=300), st.integers(1, 400))
def test_a_file_comes_out_as_it_went_in(content: bytes, size: int):
    """However the body is cut."""
    form, of_file = read(*encoded({"purpose": "batch"}, content), size)
    assert (of_file, form.fields, form.filename, form.ended) == (content, {"purpose": "batch"}, "a.jsonl", True)


def test_a_files_name_is_in_any_alphabet():
    """As browsers and httpx send it."""
    form, _ = read(*encoded({}, filename="Bücher.jsonl"))
    assert form.filename == "Bücher.jsonl"


@pytest.mark.parametrize(
    ("said", "filename"),
    [
        ("filename*=UTF-8''%E8%AB%8B%E6%B1%82.jsonl", "請求.jsonl"),
        ("filename=\"x.jsonl\"; filename*=utf-8'ja'%E8%AB%8B.jsonl", "請.jsonl"),
        ("filename*=UTF-8''%ff%fe", "\ufffd\ufffd"),
        ("filename*=shift_jis''%90%BF; filename=a.jsonl", "a.jsonl"),
        ("filename*=UTF-8''" + "n" * 300, "n" * 255),
    ],
)
def test_a_files_name_is_taken_as_headers_spell_it(said: str, filename: str):
    """The spelling for any alphabet comes before the plain one (RFC 8187)."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; {said}\r\n\r\n'
    form, _ = read("multipart/form-data; boundary=b", head.encode() + b"x\r\n--b--\r\n")
    assert form.filename == filename


def test_a_form_that_is_cut_off_has_not_ended():
    """Its file is not whole."""
    content_type, body = encoded({})
    form, _ = read(content_type, body[:-20])
    assert not form.ended


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"]
)
def test_what_is_no_form_is_refused(content_type: str | None):
    """Before its body is read."""
    with pytest.raises(BadRequest, match="multipart/form-data"):
        FormReader(content_type)


@pytest.mark.parametrize(
    ("body", "said", "param"),
    [
        (b"no form at all", "malformed", None),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 5000,
            f"above {FIELD_BYTES_MAX} bytes",
            "a",
        ),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2, "twice", "a"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n' * 2, "twice", "file"),
        (
            b"".join(b'--x\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n' % i for i in range(99)),
            f"more than {FIELDS_MAX} fields",
            None,
        ),
        (b"--x\r\n" + b"A: b\r\n" * 5000, "malformed", None),
    ],
)
def test_a_bad_form_is_refused(body: bytes, said: str, param: str | None):
    """Within bounds, and by name."""
    with pytest.raises(BadRequest, match=said) as refused:
        read("multipart/form-data; boundary=x", body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "part",
    [
        'content-disposition: form-data; name="file"; filename="a.jsonl"',
        "Content-Disposition: form-data; name=file; filename=a.jsonl",
        'Content-Disposition: form-data; name="file"; filename="C:\\Users\\me\\a.jsonl"',
        'Content-Type: application/json\r\nContent-Length: 1\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"',
    ],
)
@pytest.mark.parametrize(
    "content_type",
    [
        "Multipart/Form-Data; Boundary=x",
        'multipart/form-data; boundary="x"',
        "multipart/form-data; charset=utf-8; boundary=x",
    ],
)
@pytest.mark.parametrize("end", ["--x--", "--x--\r\nwhat stands behind the end"])
def test_a_form_is_read_as_every_program_writes_it(content_type: str, part: str, end: str):
    """In any case of letters, with and without quotes."""
    form, content = read(content_type, f"--x\r\n{part}\r\n\r\n1\r\n{end}".encode())
    assert (content, form.filename, form.ended) == (b"1", "a.jsonl", True)


def test_a_boundary_that_is_too_long_is_refused():
    """It is a part of every search in the body."""
    with pytest.raises(BadRequest, match="boundary"):
        FormReader("multipart/form-data; boundary=" + "x" * 1000)
