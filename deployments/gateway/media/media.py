"""From the media of a request to what the engine gets: read, checked, measured, made plain, shrunk, named.

What the engine gets is always inline. The steps are the other files of this folder; here they are put together, and
here a fault becomes the error that names the part of the request.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from catalog.card import ModelCard
from catalog.vision import NoVideo, UnsupportedSize
from deployments.files.file import Owner
from deployments.gateway.errors import BadImage, BadRequest
from deployments.gateway.media import image
from deployments.gateway.media.allowance import Effort
from deployments.gateway.media.cache import Cache
from deployments.gateway.media.data_url import SCHEME, is_data_url, read_base64, read_data_url, write_data_url
from deployments.gateway.media.fault import Fault, NotTaken
from deployments.gateway.media.fetch import Fetcher
from deployments.gateway.media.files import Files, NoFiles
from deployments.gateway.media.formats.anatomy import UPRIGHT
from deployments.gateway.media.kind import container_of, image_format, is_pdf
from deployments.gateway.media.picture import Picture, identity
from deployments.gateway.media.s3 import Buckets
from deployments.gateway.media.sandbox import Sandbox, SandboxLimits
from deployments.gateway.media.source import Sources, Wanted
from deployments.gateway.media.threads import Threads
from deployments.gateway.media.view import Size, view
from deployments.gateway.request import ChatRequest, Detail, File, Image, Medium, Place, Video

IMAGE_READER = "deployments.gateway.media.remake"
PDF_READER = "deployments.gateway.media.pdf"
VIDEO_READER = "deployments.gateway.media.video"
# What programs call a PDF.
PDF_TYPES = (
    "application/pdf",
    "application/x-pdf",
    "application/acrobat",
    "application/vnd.pdf",
    "text/pdf",
    "text/x-pdf",
)
VIDEOS_MAX = 1
# Of one tenant at a time, and of another: what they do holds the interpreter's lock, and more of them would hold up the loop.
THREADS = 2
# What a page is rendered to at most: A4 at 144 dots an inch.
PAGE_PIXELS_MAX = 2_100_000
# vLLM's form of a video whose frames were taken already: each a JPEG in base64, joined by commas.
FRAMES_TYPE = "video/jpeg"


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Of one gateway. `sandbox`: of the processes for images, and again of those for PDFs and videos."""

    cache_bytes_max: int = 64 * 2**20
    sandbox: SandboxLimits = field(default_factory=SandboxLimits)


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a request, and all that decides what becomes of it. `pages_max`: of a document."""

    content: Medium
    place: Place
    card: ModelCard
    owner: Owner
    effort: Effort
    pages_max: int


class Media:
    """Loads what a request shows to its model."""

    def __init__(
        self,
        fetcher: Fetcher,
        buckets: Buckets | None = None,
        files: Files | None = None,
        limits: MediaLimits | None = None,
    ) -> None:
        limits = limits or MediaLimits()
        self._threads = Threads(THREADS, "media")
        self._sources = Sources(fetcher, buckets or Buckets(), files or NoFiles(), self._threads)
        self.cache: Cache[tuple[str, bytes, int, Size | None]] = Cache(limits.cache_bytes_max)
        # Images are many and quick, so they do not wait for documents.
        self._image_sandbox = Sandbox(limits.sandbox, kept=frozenset({IMAGE_READER}))
        self._sandbox = Sandbox(limits.sandbox)

    def close(self) -> None:
        """End what waits for work."""
        self._image_sandbox.close()
        self._sandbox.close()

    async def load(
        self, chat: ChatRequest, card: ModelCard, owner: Owner, effort: Effort | None = None
    ) -> list[Picture]:
        """Everything that the engine gets to see, in order. `effort` counts what it takes.

        Raises `BadImage` or `BadRequest`, which name the part, or what `effort` raises.
        """
        effort = effort or Effort(owner.path)
        media = chat.media()
        check_media(media, card)
        # A document may fill what the other parts leave.
        pages_max = card.inputs.images_max + 1 - sum(not isinstance(medium, Video) for _, medium in media)
        try:
            async with asyncio.TaskGroup() as group:
                parts = [
                    group.create_task(self._load(_Part(content, place, card, owner, effort, pages_max)))
                    for place, content in media
                ]
        except ExceptionGroup as failures:
            # The first to fail has stopped the others.
            raise failures.exceptions[0] from None
        pictures = [picture for part in parts for picture in part.result()]
        check_images([picture.place for picture in pictures if picture.kind == "image"], card)
        return pictures

    async def damaged(self, pictures: list[Picture], tenant: str) -> BadImage | None:
        """An engine could not read an image: decode each, to name the one at fault."""
        for picture in pictures:
            if picture.kind == "image":
                data = read_data_url(picture.data_url)[1]
                settings = {"format": image_format(data), "orientation": UPRIGHT, "size": None, "whole": True}
                try:
                    await self._remade(data, Effort(tenant), **settings)
                except Fault as fault:
                    return _named(fault, picture.place)
        return None

    async def _load(self, part: _Part) -> list[Picture]:
        try:
            match part.content:
                case Image(image_url=sent):
                    return [await self._image(part, await self._read_image(part, sent.url), sent.detail)]
                case Video(video_url=sent):
                    return [await self._video(part, sent.url)]
                case File():
                    return await self._file(part, part.content)
        except Fault as fault:
            raise _named(fault, part.place) from fault

    async def _read_image(self, part: _Part, url: str) -> bytes:
        return await self._sources.read(
            url, part.owner, Wanted(("image/",), image.TAKEN, part.card.limits.image_bytes_max)
        )

    async def _image(self, part: _Part, data: bytes, detail: Detail) -> Picture:
        tenant = part.effort.tenant
        header = await self._threads.run_if_large(tenant, image.measure, data, part.card.limits)
        seen, size = view(part.card.vision, header.width_px, header.height_px, detail)
        content, media_type = header.content, header.media_type
        if not header.plain or size is not None:
            content, media_type = await self._plain(part, header, size), image.MEDIA_TYPES["PNG"]
        name = await self._threads.run_if_large(tenant, identity, content, part.card, part.owner)
        data_url = await self._threads.run_if_large(tenant, partial(write_data_url, media_type), content)
        return Picture(data_url, name, seen.vision_tokens, seen.encoder_patches, part.place)

    async def _plain(self, part: _Part, header: image.Header, size: Size | None) -> bytes:
        """Made anew, or as it was made before."""
        made = partial(
            self._remade, header.content, part.effort,
            format=header.format, orientation=header.orientation, size=size, whole=header.whole,
        )  # fmt: skip
        digest = await self._threads.run_if_large(part.effort.tenant, _sha256, header.content)
        return await self.cache.get((part.owner.org_id, digest, header.orientation, size), made)

    async def _remade(self, data: bytes, effort: Effort, **settings: Any) -> bytes:
        _, (made,) = await self._image_sandbox.read(IMAGE_READER, data, effort, **settings)
        return read_base64(made.decode())

    async def _file(self, part: _Part, content: File) -> list[Picture]:
        limits = part.card.limits
        wanted = Wanted(("image/", *PDF_TYPES), f"a PDF, or {image.TAKEN}", limits.image_bytes_max)
        sent = content.file.file_id or content.file.file_data or ""
        if content.file.file_data is not None and not is_data_url(sent.strip()):
            sent = f"{SCHEME};base64,{sent}"
        data = await self._sources.read(sent, part.owner, wanted)
        if image_format(data) is not None:
            return [await self._image(part, data, "auto")]
        if not is_pdf(data):
            raise Fault("invalid_image_format", "these bytes are not a PDF, or a PNG, JPEG, WebP or GIF image")
        _, pages = await self._sandbox.read(
            PDF_READER, data, part.effort, pages_max=part.pages_max, pixels_max=PAGE_PIXELS_MAX
        )
        return [await self._image(part, read_base64(page.decode()), "auto") for page in pages]

    async def _video(self, part: _Part, url: str) -> Picture:
        inputs, limits = part.card.inputs, part.card.limits
        wanted = Wanted(("video/", "image/gif"), "MP4, WebM or GIF, as video/...", limits.video_bytes_max)
        data = await self._sources.read(url, part.owner, wanted)
        if container_of(data) is None:
            raise Fault("invalid_image_format", "these bytes are not an MP4, WebM or GIF video")
        found, frames = await self._sandbox.read(
            VIDEO_READER,
            data,
            part.effort,
            frames_max=inputs.frames_max,
            frames_per_s=inputs.frames_per_s,
            frame_pixels_max=limits.frame_pixels_max,
            clip_pixels_max=limits.image_pixels_max,
        )
        try:
            seen = part.card.vision.see_video(found["frames"], found["width_px"], found["height_px"])
        except (NoVideo, UnsupportedSize) as error:
            raise Fault("invalid_image", str(error)) from error
        content = b",".join(frames)
        return Picture(
            f"data:{FRAMES_TYPE};base64,{content.decode()}",
            identity(b"%f " % found["frames_per_s"] + content, part.card, part.owner),
            seen.vision_tokens,
            seen.encoder_patches,
            part.place,
            "video",
            found["frames"],
            found["frames_per_s"],
        )


def check_media(media: list[tuple[Place, Medium]], card: ModelCard) -> None:
    """Refuse what the model does not take, before anything is read. Pure. Raises `BadImage` or `BadRequest`."""
    videos = [place for place, medium in media if isinstance(medium, Video)]
    if videos and not card.inputs.video:
        raise _named(NotTaken("images: this model takes no video"), videos[0])
    if len(videos) > VIDEOS_MAX:
        raise BadRequest(f"The request has {len(videos)} videos; send one at a time.", param=videos[VIDEOS_MAX].param)
    check_images([place for place, medium in media if not isinstance(medium, Video)], card)


def check_images(places: list[Place], card: ModelCard) -> None:
    """Pure. Raises `BadRequest`, which names the first image that is one too many."""
    images_max = card.inputs.images_max
    if len(places) > images_max:
        raise BadRequest(
            f"The request has {len(places)} images; this model takes at most {images_max}.",
            param=places[images_max].param,
        )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _named(fault: Fault, place: Place) -> BadImage:
    return BadImage(fault.code, f"'{place.param}': {fault.message}.", param=place.param)
