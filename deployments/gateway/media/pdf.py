"""Pages of a PDF as images. Runs as a process of its own: `python -m deployments.gateway.media.pdf`."""

import io
from collections.abc import Iterator
from math import sqrt

from pypdfium2 import PdfDocument, PdfiumError

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.reader import Found, main

# A PDF's unit is 1/72 inch: 144 dots an inch, at which ten-point text is read with ease, and A4 is 2 megapixels.
SCALE = 2.0


def read(data: bytes, pages_max: int, pixels_max: int) -> Found:
    """Every page as a PNG of at most `pixels_max`. Raises `Fault`."""
    try:
        document = PdfDocument(data)
        document.init_forms()  # what was filled in is drawn, too
    except PdfiumError as error:
        raise Fault("image_parse_error", "the PDF is damaged or needs a password") from error
    if not 0 < len(document) <= pages_max:
        raise Fault(
            "invalid_image", f"the PDF has {len(document)} pages; this request can hold {pages_max}. Send fewer"
        )
    return {"pages": len(document)}, _pages(document, pixels_max)


def _pages(document: PdfDocument, pixels_max: int) -> Iterator[bytes]:
    for page in document:
        width, height = page.get_size()
        scale = min(SCALE, sqrt(pixels_max / max(1.0, width * height)))
        out = io.BytesIO()
        page.render(scale=scale).to_pil().convert("RGB").save(out, "PNG", compress_level=1)
        page.close()
        yield out.getvalue()


if __name__ == "__main__":
    main(read)
