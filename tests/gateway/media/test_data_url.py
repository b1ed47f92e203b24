import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.media.data_url import is_data_url, read_base64, read_data_url, write_data_url
from deployments.gateway.media.fault import Fault

# Its base64 has padding, and letters of both alphabets.
DATA = b"\xfb\xef\xbe" + bytes(range(250)) + b"\xff\xff\xfe\x00"
BASE64 = base64.b64encode(DATA).decode()
URL_SAFE = base64.urlsafe_b64encode(DATA).decode()

WAYS = {
    "as programs of base64 write it": BASE64,
    "without padding": BASE64.rstrip("="),
    "with too much padding": BASE64.rstrip("=") + "====",
    "the alphabet for URLs": URL_SAFE,
    "the alphabet for URLs, without padding": URL_SAFE.rstrip("="),
    "wrapped": "\n".join(textwrap.wrap(BASE64, 76)) + "\n",
    "wrapped as in a mail": "\r\n".join(textwrap.wrap(BASE64, 76)) + "\r\n",
    "a blank before": " " + BASE64,
    "a line's end behind": BASE64 + "\n",
    "blanks in the middle": BASE64[:10] + " \t\f" + BASE64[10:],
    "escaped as in a URL": BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "escaped in lower case": BASE64.replace("+", "%2b").replace("/", "%2f").replace("=", "%3d"),
    "wrapped and escaped": "%0D%0A".join(textwrap.wrap(BASE64, 76)) + "%0A",
}


@pytest.mark.parametrize("text", WAYS.values(), ids=WAYS)
def test_base64_is_taken_in_every_way_that_programs_write_it(text: str):
    """It means the same bytes."""
    assert read_base64(text) == DATA


@pytest.mark.parametrize(
    "text", ["&&&&", "QUJDR", "Q", "QQ==QQ==", "QUJD\0", "QUJD\u00e9", "QUJD\u200b", "%41%41", "%", "data:"]
)
def test_what_is_no_base64_is_refused_by_name(text: str):
    """It is not guessed at."""
    with pytest.raises(Fault) as refused:
        read_base64(text)
    assert refused.value.code == "invalid_base64_image"


@given(st.binary(), st.integers(1, 100), st.sampled_from(["\n", "\r\n", " ", "%0A"]), st.booleans(), st.booleans())
def test_no_way_of_writing_changes_the_bytes(data: bytes, width: int, between: str, url_safe: bool, padded: bool):
    """Whatever is combined."""
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    if not padded:
        text = text.rstrip("=")
    assert read_base64(between.join(textwrap.wrap(text, width))) == data


HEADS = {
    "data:image/png;base64": "image/png",
    "DATA:Image/PNG;BASE64": "image/png",
    "data: image/png ; base64 ": "image/png",
    "data:image/png;charset=utf-8;base64": "image/png",
    "data:image/png;name=13.png;base64": "image/png",
    "data:image/png;name=a%20b%2C.png;charset=utf-8;base64": "image/png",
    "data:image/png;base64;charset=utf-8": "image/png",
    "data:;base64": "",
    "data:base64": None,
    "data:application/octet-stream;base64": "",
    "data:binary/octet-stream;base64": "",
    "data:None;base64": "",
    "data:undefined;base64": "",
    "data:png;base64": "",
    "data:image/png": None,
    "data:image/png;name=base64": None,
    "data:": None,
    "data:" + "a" * 1000 + ";base64": None,
}


@pytest.mark.parametrize(("head", "media_type"), HEADS.items(), ids=HEADS)
def test_the_head_says_the_type(head: str, media_type: str | None):
    """In lower case, without parameters; "" where it says nothing. Without base64 it is refused."""
    if media_type is not None:
        assert read_data_url(f"{head},{BASE64}") == (media_type, DATA)
    else:
        with pytest.raises(Fault) as refused:
            read_data_url(f"{head},{BASE64}")
        assert refused.value.code == "invalid_image_url"


def test_a_data_url_without_content_is_none():
    """There is no comma."""
    with pytest.raises(Fault, match="not a data URL"):
        read_data_url("data:image/png;base64")


@pytest.mark.parametrize(
    ("url", "expected"),
    [("data:,", True), ("DATA:,", True), ("datab:,", False), ("", False), ("https://data:1/", False)],
)
def test_a_data_url_is_known_by_its_scheme(url: str, expected: bool):
    """In any case of letters."""
    assert is_data_url(url) == expected


@given(st.binary())
def test_what_is_written_is_read(data: bytes):
    """And there is one way of writing it."""
    url = write_data_url("image/png", data)
    assert url == f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert read_data_url(url) == ("image/png", data)
