"""Files made to harm whoever reads them. Each function makes one; `CORPUS` names them all, with what must become of them.

Run as a program, it loads every one through a gateway's media pipeline and prints how much memory that took, in KiB.
"""

import asyncio
import io
import resource
import struct
import sys
import zlib
from dataclasses import dataclass

import pybase64
from PIL import Image

from catalog import ModelCard, load_catalog
from deployments.files.file import Owner
from deployments.gateway.errors import BadImage
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media, MediaLimits
from deployments.gateway.media.sandbox import SandboxLimits
from deployments.gateway.request import ChatRequest
from tests.gateway.media.samples import chunk, clip, image, pdf, png, saved

DEMO = load_catalog().find("demo-qwen2-vl")
CARD = DEMO.model_copy(update={"inputs": DEMO.inputs.model_copy(update={"video": True})})
OWNER = Owner("org", "project")
# A test has less patience than a gateway.
LIMITS = MediaLimits(sandbox=SandboxLimits(cpu_s_max=2))


@dataclass(frozen=True)
class Hostile:
    """`code` None: it is taken, and only its picture gets through. `part` is the type of the part that holds it."""

    data: bytes
    code: str | None
    part: str = "image_url"


def bomb() -> bytes:
    """A valid PNG of 20,000 x 20,000 pixels in some kilobytes."""
    return png(20_000, 20_000, bits=1, colours=0, rows=bytes((20_000 // 8 + 1) * 20_000))


def huge_png() -> bytes:
    return png(2**31 - 1, 2**31 - 1, rows=b"")


def huge_jpeg() -> bytes:
    """Its header says 65,500 x 65,500."""
    data = bytearray(image(kind="JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def huge_webp() -> bytes:
    """A canvas of 16,777,216 x 16,777,216."""
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff" * 6
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def frame_beyond_its_screen() -> bytes:
    """A GIF of 1 x 1 with a frame of 65,535 x 65,535."""
    data = bytearray(image(1, 1, "GIF"))
    at = data.index(b",", 13) + 5
    data[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def text_bomb() -> bytes:
    """A PNG with a note of 256 MiB, packed."""
    return png(8, 8, before=((b"zTXt", b"note\0\0" + packed(256)),))


def profile_bomb() -> bytes:
    """A PNG with a colour profile of 256 MiB, packed."""
    return png(8, 8, before=((b"iCCP", b"icc\0\0" + packed(256)),))


def packed(size_mib: int, level: int = 1) -> bytes:
    """So many zeros."""
    packer = zlib.compressobj(level)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size_mib)) + packer.flush()


def many_profiles() -> bytes:
    """A PNG whose profiles unpack to 185 MiB, in 200 KB."""
    return png(8, 8, before=((b"iCCP", b"icc\0\0" + packed(1, 9)),) * 185)


def many_notes() -> bytes:
    """A PNG of notes that unpack to 600 MiB, each as large as Pillow takes one."""
    notes = [(b"zTXt", b"%d\0\0" % i + packed(1, 9)) for i in range(200)]
    history = b"XML:com.adobe.xmp\0\1\0\0\0" + packed(1, 9)
    return png(8, 8, before=(*notes, *[(b"iTXt", history)] * 200, *[(b"zTXt", RAW_EXIF + packed(1, 9))] * 200))


RAW_EXIF = b"Raw profile type exif\0\0"


def many_parts() -> bytes:
    """A PNG of a million chunks."""
    return png(8, 8, before=((b"tEXt", b""),)).replace(chunk(b"tEXt", b""), chunk(b"tEXt", b"") * 1_000_000)


def many_segments() -> bytes:
    """A JPEG of a million comments."""
    data = image(kind="JPEG")
    return data[:2] + b"\xff\xfe\0\2" * 1_000_000 + data[2:]


def filled_segments() -> bytes:
    """A JPEG with nothing but fill bytes between its first two segments."""
    data = image(kind="JPEG")
    return data[:20] + b"\xff" * 4_000_000 + b"\0" + data[20:]


def many_webp_chunks() -> bytes:
    """A WebP of a million chunks."""
    data = image(kind="WEBP")
    chunks = data[12:] + b"NOTE\0\0\0\0" * 1_000_000
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def long_comment() -> bytes:
    """A GIF with a comment in a million pieces."""
    data = image(kind="GIF")
    at = data.index(b",\0\0\0\0", 13)
    return data[:at] + b"!\xfe" + b"\1x" * 1_000_000 + b"\0" + data[at:]


def many_comments() -> bytes:
    """A GIF with a million comments."""
    data = image(kind="GIF")
    at = data.index(b",\0\0\0\0", 13)
    return data[:at] + b"!\xfe\0" * 1_000_000 + data[at:]


def exif_bomb() -> bytes:
    """A JPEG whose EXIF says of 5,000 things that each is all of it."""
    entries = b"".join(struct.pack("<HHII", 1000 + i, 7, 60_000, 0) for i in range(5_000))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + entries
    data = image(kind="JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + data[2:]


def many_scans(side_px: int = 2000, scans: int = 1_000) -> bytes:
    """A progressive JPEG of so many pixels, each of its many scans a pass over all of them."""
    out = io.BytesIO()
    Image.new("RGB", (side_px, side_px)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * scans + data[-2:]


def large_and_clear() -> bytes:
    """A PNG of 9 megapixels that has to be laid on white."""
    return saved(Image.new("RGBA", (3000, 3000), (1, 2, 3, 4)))


def many_frames(frames: int = 100_000) -> bytes:
    """A GIF of so many frames."""
    data = image(16, 16, "GIF")
    begin = data.index(b",", 13)
    return data[:begin] + data[begin:-1] * frames + b";"


def html() -> bytes:
    return b"GIF89a/*" + b"\0" * 8 + b"*/=1;<html><script>alert(1)</script></html>;"


def zip_with_a_header() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"PK\x03\x04" + bytes(200)


def picture_and_zip() -> bytes:
    """A whole picture with something else behind it."""
    return image() + b"PK\x03\x04" + b"secret" * 1000


def encrypted_pdf() -> bytes:
    trailer = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (" + b"x" * 32 + b") /U (" + b"y" * 32 + b") /P -4 >>"
    return pdf().replace(b"/Root", trailer + b" /Root")


def exploding_pdf() -> bytes:
    """A page of forms within forms, each drawn ten times by the one around it."""
    return pdf(forms=12)


def playlist() -> bytes:
    """What FFmpeg, left to guess, takes for a list of other files to open."""
    return b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def huge_clip() -> bytes:
    """A moving GIF on a screen of 65,535 x 65,535."""
    data = bytearray(clip("gif"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


PARSE, FORMAT, LARGE, INVALID = "image_parse_error", "invalid_image_format", "image_too_large", "invalid_image"

CORPUS = {
    "bomb": Hostile(bomb(), LARGE),
    "huge PNG": Hostile(huge_png(), LARGE),
    "huge JPEG": Hostile(huge_jpeg(), LARGE),
    "huge WebP": Hostile(huge_webp(), FORMAT),
    "GIF with a frame beyond its screen": Hostile(frame_beyond_its_screen(), LARGE),
    "PNG with a packed note": Hostile(text_bomb(), None),
    "PNG with a packed profile": Hostile(profile_bomb(), None),
    "PNG of 185 profiles": Hostile(many_profiles(), None),
    "PNG of 600 packed notes": Hostile(many_notes(), None),
    "PNG of a million chunks": Hostile(many_parts(), INVALID),
    "large clear PNG": Hostile(large_and_clear(), None),
    "JPEG of many scans": Hostile(many_scans(), INVALID),
    "JPEG of 49 megapixels and 100 scans": Hostile(many_scans(7000, 90), INVALID),
    "JPEG of a million comments": Hostile(many_segments(), INVALID),
    "JPEG of fill bytes": Hostile(filled_segments(), None),
    "JPEG with an EXIF bomb": Hostile(exif_bomb(), None),
    "WebP of a million chunks": Hostile(many_webp_chunks(), INVALID),
    "GIF with a long comment": Hostile(long_comment(), INVALID),
    "GIF of a million comments": Hostile(many_comments(), INVALID),
    "GIF of 100,000 frames": Hostile(many_frames(), None),
    "half a PNG": Hostile(image()[:-60], PARSE),
    "half a JPEG": Hostile(image(kind="JPEG")[:-400], PARSE),
    "half a WebP": Hostile(image(kind="WEBP")[:-100], PARSE),
    "half a GIF": Hostile(image(kind="GIF")[:-600], PARSE),
    "PNG of no pixels": Hostile(png(0, 0, rows=b""), FORMAT),
    "BMP": Hostile(image(kind="BMP"), FORMAT),
    "TIFF": Hostile(image(kind="TIFF"), FORMAT),
    "PostScript": Hostile(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", FORMAT),
    "SVG": Hostile(b"<svg xmlns='http://www.w3.org/2000/svg'/>", FORMAT),
    "PDF as an image": Hostile(pdf(), FORMAT),
    "HTML with the header of a GIF": Hostile(html(), FORMAT),
    "ZIP with the header of a PNG": Hostile(zip_with_a_header(), FORMAT),
    "picture with a ZIP behind it": Hostile(picture_and_zip(), None),
    "half a PDF": Hostile(pdf()[:200], PARSE, "file"),
    "PDF with a password": Hostile(encrypted_pdf(), PARSE, "file"),
    "PDF of 5,000 pages": Hostile(pdf(pages=5_000), INVALID, "file"),
    "PDF of one huge page": Hostile(pdf(size=(10_000_000, 10_000_000)), None, "file"),
    "PDF of forms in forms": Hostile(exploding_pdf(), PARSE, "file"),
    "half a clip": Hostile(clip()[:700], PARSE, "video_url"),
    "huge clip": Hostile(huge_clip(), PARSE, "video_url"),
    "GIF of 100,000 frames as a clip": Hostile(many_frames(), None, "video_url"),
    "playlist as a clip": Hostile(playlist(), FORMAT, "video_url"),
    "playlist with the header of a clip": Hostile(b"\0\0\0\x10ftypisom" + playlist(), PARSE, "video_url"),
}


def request(hostile: Hostile, times: int = 1) -> ChatRequest:
    """The body of a request that shows it, so many times."""
    base64 = pybase64.b64encode_as_string(hostile.data)
    match hostile.part:
        case "file":
            content = {"file_data": base64}
        case "video_url":
            content = {"url": f"data:video/mp4;base64,{base64}"}
        case _:
            content = {"url": f"data:image/png;base64,{base64}"}
    part = {"type": hostile.part, hostile.part: content}
    return ChatRequest(model="demo", messages=[{"role": "user", "content": [part] * times}])


async def outcome(media: Media, hostile: Hostile, card: ModelCard = CARD) -> str | None:
    """The code of the refusal, or None."""
    try:
        await media.load(request(hostile), card, OWNER)
    except BadImage as refused:
        return refused.code
    return None


async def load_all() -> int:
    """How much memory it takes to be sent the whole corpus, in KiB."""
    requests = [request(hostile) for hostile in CORPUS.values()]
    media = Media(Fetcher(FetchLimits()), limits=LIMITS)
    await media.load(request(Hostile(image(mode="RGBA"), None)), CARD, OWNER)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for chat in requests:
        try:
            await media.load(chat, CARD, OWNER)
        except BadImage:
            continue
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


if __name__ == "__main__":
    Image.init()
    sys.stdout.write(str(asyncio.run(load_all())))
