"""Pictures as vLLM reads them, and as a gateway measures them."""

from io import BytesIO

from PIL import Image, ImageOps


def upright_on_white(data: bytes, mode: str = "RGB") -> Image.Image:
    """Turned as its EXIF tag says, in front of white. Raises OSError for a file that is cut or damaged."""
    picture = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert(mode)
