"""Bad input: each fault gets a 4xx with its code and its param, holds nothing and charges nothing."""

import io
import socket
import struct
import threading
import zlib

import httpx
import openai
import pytest
from PIL import Image

from tests.e2e.cluster import MODEL, asking, data_url, encoded, wait_until


def small_png() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(out, "PNG")
    return out.getvalue()


def huge_png() -> bytes:
    """20,000 x 20,000 pixels in some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((20_000 // 8 + 1) * 20_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def question(**changes: object) -> bytes:
    return encoded({"model": MODEL, "messages": asking("What is in the image?"), "max_tokens": 4} | changes)


def about_image(url: str, **changes: object) -> bytes:
    return question(messages=asking("What is in the image?", url), **changes)


PNG = small_png()
IMAGE = "messages[0].content[0].image_url"
PART = "messages[0].content[0]"

# body, status, code, param
FAULTS = {
    "malformed JSON": (b'{"model": ', 400, None, None),
    "not an object": (b"[1]", 400, None, None),
    "an empty body": (b"", 400, None, None),
    "no such model": (question(model="gpt-5"), 404, "model_not_found", "model"),
    "no messages": (question(messages=[]), 400, None, "messages"),
    "an unknown field": (question(frobnicate=1), 400, None, "frobnicate"),
    "an unknown part": (
        question(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
        400,
        None,
        f"{PART}.type",
    ),
    "a wrong type": (question(temperature="hot"), 400, None, "temperature"),
    "two answers": (question(n=2), 400, None, "n"),
    "too much output": (question(max_tokens=100_000), 400, None, "max_tokens"),
    "a context too long": (question(messages=asking("word " * 3000)), 400, "context_length_exceeded", "messages"),
    "text beyond the card": (question(messages=asking("x" * 20_000)), 400, "context_length_exceeded", "messages"),
    "bytes that are no image": (about_image(data_url(b"hello, world")), 400, "invalid_image_format", IMAGE),
    "a truncated image": (about_image(data_url(PNG[: len(PNG) // 2])), 400, "image_parse_error", IMAGE),
    "bad base64": (about_image("data:image/png;base64,@@@@"), 400, "invalid_base64_image", IMAGE),
    "an empty image": (about_image("data:image/png;base64,"), 400, "empty_image_file", IMAGE),
    "a wrong media type": (about_image(data_url(PNG, "text/html")), 400, "unsupported_image_media_type", IMAGE),
    "too many images": (
        question(messages=asking("?", *[data_url(PNG)] * 9)),
        400,
        None,
        "messages[0].content[8].image_url",
    ),
    "too many pixels": (about_image(data_url(huge_png())), 400, "image_too_large", IMAGE),
    "an impossible shape": (None, 400, "invalid_image", IMAGE),
    "a local file": (about_image("file:///etc/passwd"), 400, "invalid_image_url", IMAGE),
    "a loopback address": (about_image("http://127.0.0.1:1/a.png"), 400, "failed_to_download_image", IMAGE),
    "a metadata address": (about_image("http://169.254.169.254/latest"), 400, "failed_to_download_image", IMAGE),
    "an IPv6 loopback": (about_image("http://[::1]/a.png"), 400, "failed_to_download_image", IMAGE),
    "a number for an address": (about_image("http://2130706433/a.png"), 400, "failed_to_download_image", IMAGE),
    "a name that is nowhere": (about_image("http://no.such.invalid/a.png"), 400, "failed_to_download_image", IMAGE),
}


def thin_png() -> bytes:
    out = io.BytesIO()
    Image.new("L", (2010, 10)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_costs_nothing(cluster, fault):
    """Each kind of bad input has its own answer, and leaves no trace in the ledger's balances."""
    body, status, code, param = FAULTS[fault]
    body = about_image(data_url(thin_png())) if body is None else body
    charged_before = sum(row["charged_nano"] for row in cluster.usage_rows())
    response = httpx.post(
        f"{cluster.url}/v1/chat/completions",
        content=body,
        headers={"authorization": f"Bearer {cluster.key}"},
        timeout=60,
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    wait_until(lambda: cluster.open_holds() == 0)  # the caller is told before the ledger has let go
    assert sum(row["charged_nano"] for row in cluster.usage_rows()) == charged_before


def test_a_body_over_the_cap_is_413(cluster):
    """The body's size is refused from its header alone."""
    with socket.create_connection(("127.0.0.1", int(cluster.url.rsplit(":", 1)[1]))) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
        connection.sendall(f"{head}Authorization: Bearer {cluster.key}\r\n\r\n".encode())
        status = connection.makefile("rb").readline()
    assert b" 413 " in status


@pytest.mark.parametrize("authorization", [None, "Bearer sk-vlm-wrong", "Basic abc"])
def test_without_a_working_key_it_is_401(cluster, authorization):
    """Missing and wrong keys are told the same."""
    headers = {"authorization": authorization} if authorization else {}
    response = httpx.post(f"{cluster.url}/v1/chat/completions", content=question(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_key_to_manage_cannot_infer(cluster):
    """Scopes are kept apart."""
    with (
        openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.admin_key) as admin,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        admin.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    assert refused.value.code == "scope_not_allowed"


def test_a_redirect_to_a_private_address_is_refused(client, image_server):
    """Every hop is checked, not only the first."""
    server = socket.create_server(("127.0.0.2", 0))
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/a.png\r\nContent-Length: 0\r\n\r\n"

    def redirect() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    threading.Thread(target=redirect, daemon=True).start()
    messages = asking("?", f"http://127.0.0.2:{server.getsockname()[1]}/a.png")
    with server, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=messages)
    assert refused.value.code == "failed_to_download_image"


def test_a_url_that_hangs_is_given_up(client):
    """A server that accepts and says nothing costs a bounded wait."""
    silent = socket.create_server(("127.0.0.2", 0))
    messages = asking("?", f"http://127.0.0.2:{silent.getsockname()[1]}/a.png")
    with silent, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=messages)
    assert refused.value.code == "failed_to_download_image"


def test_an_error_never_repeats_the_payload(cluster):
    """What the caller sent, however wrong, is not sent back."""
    secret = "S3CR3T" * 50
    for body in (
        question(messages=[{"role": "user", "content": [{"type": secret}]}]),
        question(temperature=secret),
        question(tools=secret),
        about_image(f"data:image/png;base64,{secret}!"),
        about_image(f"ftp://{secret}"),
    ):
        response = httpx.post(
            f"{cluster.url}/v1/chat/completions", content=body, headers={"authorization": f"Bearer {cluster.key}"}
        )
        assert response.status_code == 400
        assert "S3CR3T" not in response.text
        assert "S3CR3T" not in str(response.headers)


def test_other_paths_and_methods(cluster):
    """What is not there is 404, what is asked in the wrong way 405, both in OpenAI's shape."""
    assert httpx.get(f"{cluster.url}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    wrong = httpx.get(f"{cluster.url}/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
