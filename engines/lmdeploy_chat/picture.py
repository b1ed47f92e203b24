"""Pictures as vLLM reads them, and as a gateway measures them."""

from io import BytesIO

from lmdeploy.vl.media.image import ImageMediaIO
from PIL import Image, ImageFile, ImageOps


def read_pictures_alike() -> None:
    """LMDeploy leaves pictures as the camera was held, shows what is behind transparency, and takes cut files for whole."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    ImageMediaIO.load_bytes = upright_on_white


def upright_on_white(self: ImageMediaIO, data: bytes) -> Image.Image:
    """Raises OSError for a file that is cut or damaged."""
    picture = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert(self.image_mode)
