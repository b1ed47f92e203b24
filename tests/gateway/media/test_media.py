import asyncio
import base64
import io
from typing import Any

import pybase64
import pytest
from PIL import Image

from catalog import ModelCard, load_catalog
from deployments.files.file import Owner
from deployments.gateway.errors import BadImage, BadRequest
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.media.picture import Picture
from deployments.gateway.request import ChatRequest
from tests.gateway.media.samples import clip, data_url, filled_form, image, pdf

CATALOG = load_catalog()
DEMO = CATALOG.find("demo-qwen2-vl")
INTERNVL2 = CATALOG.find("internvl2-2b")
MOONDREAM2 = CATALOG.find("moondream2")
# As Qwen2-VL is served outside of the demo: 4 to 16,384 vision tokens an image.
WIDE = DEMO.model_copy(update={"vision": DEMO.vision.model_copy(update={"pixels_min": 3136, "pixels_max": 12_845_056})})
PARAM = "messages[0].content[0].image_url"
OWNER = Owner("org", "project")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def chat(*urls: str, detail: str = "auto") -> ChatRequest:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url, "detail": detail}} for url in urls]
    return ChatRequest(model="demo", messages=[{"role": "user", "content": parts}])


async def load(*urls: str, card: ModelCard = DEMO, detail: str = "auto") -> list[Picture]:
    # No URL of these tests is fetched: the fetcher has no time.
    return await Media(Fetcher(FetchLimits(timeout_s=0))).load(chat(*urls, detail=detail), card, OWNER)


def size_of(picture: Picture) -> tuple[int, int]:
    with Image.open(io.BytesIO(pybase64.b64decode(picture.data_url.partition(",")[2]))) as opened:
        return opened.size


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
async def test_an_image_is_measured_and_passed_on_as_it_is(kind: str, mode: str):
    """What needs no shrinking reaches the engine byte for byte."""
    url = data_url(image(120, 100, kind, mode), f"image/{kind.lower()}")
    (picture,) = await load(url)
    assert picture.vision_tokens == 16  # 4 x 4 of 28 px: the demo sees 12,544 pixels of every image
    assert picture.data_url == url


async def test_the_same_image_has_the_same_hash():
    """The hash is of the bytes, so it does not depend on how they were labelled."""
    first, second, third = await load(data_url(image()), data_url(image(), "image/jpeg"), data_url(image(113)))
    assert first.sha256 == second.sha256 != third.sha256


PNG = image()
FAULTS = {
    "not base64": ("data:image/png;base64,&&&&", "invalid_base64_image"),
    "base64 without its end": ("data:image/png;base64,QUJDR", "invalid_base64_image"),
    "nothing": ("data:image/png;base64,", "empty_image_file"),
    "no comma": ("data:image/png;base64", "invalid_image_url"),
    "no base64": ("data:image/png,abc", "invalid_image_url"),
    "a PDF": (data_url(b"%PDF-1.7", "application/pdf"), "unsupported_image_media_type"),
    "text, by its type": (data_url(PNG, "text/plain"), "unsupported_image_media_type"),
    "a PDF without a type": (data_url(b"%PDF-1.7", ""), "invalid_image_format"),
    "bare base64": (data_url(PNG).partition(",")[2], "invalid_image_url"),
    "a file of ours": ("file:///etc/passwd", "invalid_image_url"),
    "text": (data_url(b"hello"), "invalid_image_format"),
    "a BMP": (data_url(image(kind="BMP"), "image/bmp"), "invalid_image_format"),
    "SVG": (data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "invalid_image_format"),
    "a PNG's first bytes": (data_url(PNG[:20]), "invalid_image_format"),
    "half a PNG": (data_url(PNG[: len(PNG) // 2]), "image_parse_error"),
    "half a JPEG": (data_url(image(kind="JPEG")[:-400]), "image_parse_error"),
    "half a WebP": (data_url(image(kind="WEBP")[:-100]), "image_parse_error"),
    "half a GIF": (data_url(image(kind="GIF")[:-600]), "image_parse_error"),
    "a ribbon": (data_url(image(2010, 10)), "invalid_image"),
}


@pytest.mark.parametrize(("url", "code"), FAULTS.values(), ids=FAULTS)
async def test_a_bad_image_is_refused_by_its_place(url: str, code: str):
    """The code is OpenAI's, the param is the image's path, and the second image is found like the first."""
    with pytest.raises(BadImage) as refused:
        await load(data_url(PNG), url)
    assert refused.value.code == code
    assert refused.value.param == "messages[0].content[1].image_url"


async def test_an_image_is_bounded_in_bytes():
    """By the card's cap, to the byte."""
    data = image()
    for bytes_max, code in ((len(data), None), (len(data) - 1, "image_file_too_large")):
        card = DEMO.model_copy(update={"limits": DEMO.limits.model_copy(update={"image_bytes_max": bytes_max})})
        if code is None:
            assert await load(data_url(data), card=card)
        else:
            with pytest.raises(BadImage) as refused:
                await load(data_url(data), card=card)
            assert refused.value.code == code


async def test_no_more_images_than_the_card_takes():
    """The first one too many is named; none is loaded."""
    urls = ["https://example.org/a.png"] * (DEMO.inputs.images_max + 1)
    with pytest.raises(BadRequest, match="9 images") as refused:
        await load(*urls)
    assert refused.value.param == "messages[0].content[8].image_url"


@pytest.mark.parametrize(
    ("width", "height", "detail", "size", "vision_tokens"),
    [
        (1280, 720, "auto", (1280, 720), 1196),  # 46 x 26, within one unit as it is
        (1280, 720, "high", (1280, 720), 1196),
        (1280, 720, "low", (672, 364), 312),  # 24 x 13, within 512 x 512 pixels
        (2560, 1440, "auto", (1316, 728), 1222),  # 47 x 26, the most within 1,280
        (2560, 1440, "high", (2560, 1440), 4641),  # 91 x 51
        (2560, 1440, "original", (2560, 1440), 4641),
        (512, 512, "low", (512, 512), 324),  # 18 x 18
        (100, 50, "low", (100, 50), 8),  # 4 x 2: never enlarged here
    ],
)
async def test_detail_decides_how_much_of_an_image_is_seen(
    width: int, height: int, detail: str, size: tuple[int, int], vision_tokens: int
):
    """`low` and `auto` shrink to exactly the size that the model's processor would choose itself."""
    (picture,) = await load(data_url(image(width, height)), card=WIDE, detail=detail)
    assert size_of(picture) == size
    assert picture.vision_tokens == vision_tokens


@pytest.mark.parametrize("size", [(5000, 3000), (200, 4000), (1003, 1001), (3000, 20)])
async def test_auto_stays_within_one_unit(size: tuple[int, int]):
    """Whatever its shape, an image at `auto` is at most 1,280 vision tokens."""
    (picture,) = await load(data_url(image(*size)), card=WIDE)
    assert 0 < picture.vision_tokens <= 1280


@pytest.mark.parametrize(
    ("detail", "size", "vision_tokens"),
    [
        ("high", (1024, 768), 3328),  # as it is: 4 x 3 tiles and the thumbnail
        ("auto", (896, 896), 1280),  # of at most four tiles 2 x 2 are as near as one, and it fills half of them
        ("low", (448, 448), 256),
    ],
)
async def test_detail_bounds_the_tiles_of_internvl2(detail: str, size: tuple[int, int], vision_tokens: int):
    """Shrunk to whole tiles here, so that any engine sees just these, without a parameter of its own."""
    (picture,) = await load(data_url(image(1024, 768)), card=INTERNVL2, detail=detail)
    assert size_of(picture) == size
    assert (picture.vision_tokens, picture.encoder_patches) == (vision_tokens, 4 * vision_tokens)


async def test_an_image_carries_the_encoders_work():
    """Moondream shows the language model 729 tokens, and computes nine crops for them."""
    (picture,) = await load(data_url(image(640, 480)), card=MOONDREAM2)
    assert (picture.vision_tokens, picture.encoder_patches) == (729, 9 * 729)
    assert size_of(picture) == (640, 480)  # nothing to gain by shrinking it


async def test_a_mislabelled_image_is_taken_for_what_it_is():
    """The content decides, not the media type of the URL."""
    (picture,) = await load(data_url(image(kind="JPEG"), "image/png"))
    assert picture.vision_tokens == 16


@pytest.mark.parametrize(
    "head",
    ["DATA:IMAGE/PNG;BASE64", " data:image/png;charset=utf-8;base64", "data:image/png;name=a%20b.png;base64", "data:;base64",
     "data:application/octet-stream;base64", "data:image/jpg;base64", "data:image/*;base64", "data:None;base64"],
)  # fmt: skip
async def test_every_engine_gets_a_data_url_in_one_form(head: str):
    """However it was written; engines would read each of these in their own way, or not at all."""
    (picture,) = await load(f"{head}, {base64.encodebytes(PNG).decode()}")
    assert picture.data_url == data_url(PNG, "image/png")


async def test_a_fetched_image_reaches_the_engine_inline():
    """The engine never sees a URL: what was fetched becomes a data URL of its true type."""
    data = image(kind="JPEG")

    async def site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(site, "127.0.0.1", 0) as server:
        fetcher = Fetcher(FetchLimits(allowed_networks=("127.0.0.0/8",)))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
        (picture,) = await Media(fetcher).load(chat(url), DEMO, OWNER)
        await fetcher.close()
    assert picture.data_url == data_url(data, "image/jpeg")


def parts(*sent: dict[str, Any]) -> ChatRequest:
    return ChatRequest(model="demo", messages=[{"role": "user", "content": list(sent)}])


def file(data: bytes) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": data_url(data, "application/pdf")}}


def video(data: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": data_url(data, "video/mp4")}}


def picture(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(data)}}


@pytest.fixture
def media() -> Media:
    return Media(Fetcher(FetchLimits(timeout_s=0)))


WATCHES = DEMO.model_copy(update={"inputs": DEMO.inputs.model_copy(update={"video": True, "frames_max": 5})})


async def test_what_is_turned_by_its_camera_is_measured_upright():
    """A strip that lies on its side costs the tokens of one that stands, and the engine gets it standing."""
    (lying,) = await load(data_url(exif_turned(image(280, 112), 6), "image/jpeg"), card=WIDE)
    (standing,) = await load(data_url(image(112, 280)), card=WIDE)
    assert size_of(lying) == (112, 280)
    assert lying.vision_tokens == standing.vision_tokens == 40


def exif_turned(data: bytes, orientation: int) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(data)) as opened:
        opened.save(out, "JPEG", exif=exif)
    return out.getvalue()


async def test_a_large_image_is_shrunk_to_what_is_seen_of_it():
    """The demo sees 112 x 112 pixels of it, so more need not travel; a few pixels more are not worth a decoding."""
    large, small = await load(data_url(image(2000, 2000)), data_url(image(224, 224)))
    assert size_of(large) == (112, 112)
    assert size_of(small) == (224, 224)
    assert large.vision_tokens == small.vision_tokens == 16


async def test_what_was_made_ready_once_is_not_decoded_again(media: Media, monkeypatch: pytest.MonkeyPatch):
    """In the next turn of a chat the image comes again."""
    sent = chat(data_url(image(2000, 2000)))
    first = await media.load(sent, DEMO, OWNER)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("it was decoded"))
    assert await media.load(sent, DEMO, OWNER) == first


async def test_every_page_of_a_document_is_an_image(media: Media):
    """In order, where the document stood; each is priced as an image is."""
    pictures = await media.load(parts(picture(image()), file(pdf(pages=3)), picture(image(110))), DEMO, OWNER)
    assert [found.place.part for found in pictures] == [0, 1, 1, 1, 2]
    assert [found.vision_tokens for found in pictures] == [16, 10, 10, 10, 16]
    assert size_of(pictures[1]) == (400, 200)  # of 200 x 100 points


async def test_pages_count_as_images(media: Media):
    """A document may fill what the other parts leave of the card's images, and no more."""
    assert len(await media.load(parts(file(pdf(pages=8))), DEMO, OWNER)) == 8
    with pytest.raises(BadRequest, match="9 pages; this request can hold 8"):
        await media.load(parts(file(pdf(pages=9))), DEMO, OWNER)
    with pytest.raises(BadRequest, match="8 pages; this request can hold 7"):
        await media.load(parts(picture(image()), file(pdf(pages=8))), DEMO, OWNER)
    with pytest.raises(BadRequest, match="10 images") as refused:
        await media.load(parts(file(pdf(pages=5)), file(pdf(pages=5))), DEMO, OWNER)
    assert refused.value.param == "messages[0].content[1].file"


@pytest.mark.parametrize(
    "head",
    ["data:application/pdf;base64,", "data:application/x-pdf;base64,", "data:application/octet-stream;base64,",
     "data:;base64,", "DATA:application/pdf;filename=generated.pdf;base64,", "data:image/png;base64,", ""],
)  # fmt: skip
@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"\r\n\r\n", b"--boundary\r\nContent-Type: application/pdf\r\n\r\n"]
)
async def test_a_document_is_known_by_its_bytes(media: Media, head: str, before: bytes):
    """Whatever its type; the header of a PDF may stand a little further in."""
    sent = {"type": "file", "file": {"file_data": head + base64.encodebytes(before + pdf()).decode()}}
    (page,) = await media.load(parts(sent), DEMO, OWNER)
    assert size_of(page) == (400, 200)


async def test_what_was_filled_into_a_form_is_seen(media: Media):
    """It stands beside the page's own content, in the fields."""
    (page,) = await media.load(parts(file(filled_form())), WIDE, OWNER)
    with Image.open(io.BytesIO(pybase64.b64decode(page.data_url.partition(",")[2]))) as shown:
        assert (shown.getpixel((100, 100)), shown.getpixel((300, 100))) == ((255, 255, 255), (0, 0, 255))


async def test_what_is_neither_document_nor_image_is_refused_by_name(media: Media):
    """By its bytes where its type says nothing, by its type where that says something else."""
    for media_type, code in (("", "invalid_image_format"), ("application/msword", "unsupported_image_media_type")):
        sent = {"type": "file", "file": {"file_data": data_url(b"PK\3\4" + bytes(2000), media_type)}}
        with pytest.raises(BadImage) as refused:
            await media.load(parts(sent), DEMO, OWNER)
        assert (refused.value.code, refused.value.param) == (code, "messages[0].content[0].file")


async def test_an_image_in_a_file_is_an_image(media: Media):
    """Whatever the file is called; bare base64 will do."""
    sent = {"type": "file", "file": {"file_data": pybase64.b64encode_as_string(image())}}
    (found,) = await media.load(parts(sent), DEMO, OWNER)
    assert found.data_url == data_url(image())


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
async def test_a_video_becomes_frames(media: Media, kind: str):
    """At the card's rate, in the form that vLLM takes; two frames of a Qwen2-VL make one grid of tokens."""
    (found,) = await media.load(parts(video(clip(kind))), WATCHES, OWNER)
    head, *frames = found.data_url.split(",")
    assert head == "data:video/jpeg;base64"
    assert (found.kind, found.frames, len(frames)) == ("video", 4, 4)  # two seconds, two frames a second
    assert found.frames_per_s == pytest.approx(2)
    assert found.vision_tokens == 2 * 20  # 5 x 4 of 28 px a grid


async def test_a_long_video_is_seen_in_as_many_frames_as_the_card_allows(media: Media):
    """Further apart."""
    (found,) = await media.load(parts(video(clip(seconds=20))), WATCHES, OWNER)
    assert found.frames == 5
    assert found.frames_per_s == pytest.approx(0.25)


async def test_a_model_without_video_refuses_one_by_name(media: Media):
    """Before it is read."""
    with pytest.raises(BadImage, match="takes no video") as refused:
        await media.load(parts({"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}}), DEMO, OWNER)
    assert refused.value.code == "unsupported_image_media_type"
    assert refused.value.param == "messages[0].content[0].video_url"


async def test_a_request_has_one_video(media: Media):
    """Engines take one rate of frames for all."""
    with pytest.raises(BadRequest, match="one at a time"):
        await media.load(parts(video(clip()), video(clip())), WATCHES, OWNER)


async def test_an_engine_that_could_not_read_an_image_learns_which(media: Media):
    """A fault that only decoding shows is found when the engine has refused the request."""
    hidden = bytearray(image(kind="PNG"))
    hidden[100:120] = bytes(20)
    pictures = await media.load(chat(data_url(image()), data_url(bytes(hidden))), DEMO, OWNER)
    found = await media.damaged(pictures, OWNER.path)
    assert found is not None
    assert (found.code, found.param) == ("image_parse_error", "messages[0].content[1].image_url")
    assert await media.damaged(pictures[:1], OWNER.path) is None
