"""Pictures as vLLM reads them, and as a gateway measures them."""

from lmdeploy.vl.media.image import ImageMediaIO
from openai_chat.picture import upright_on_white
from PIL import Image, ImageFile


def read_pictures_alike() -> None:
    """LMDeploy leaves pictures as the camera was held, shows what is behind transparency, and takes cut files for whole."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    ImageMediaIO.load_bytes = _load_bytes


def _load_bytes(self: ImageMediaIO, data: bytes) -> Image.Image:
    return upright_on_white(data, self.image_mode)
