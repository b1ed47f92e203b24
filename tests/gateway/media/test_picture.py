import pytest

from catalog import load_catalog
from deployments.files.file import Owner
from deployments.gateway.media.picture import identity

CARD = load_catalog().find("demo-qwen2-vl")
OWNER = Owner("org", "project")
OTHER_VISION = CARD.vision.model_copy(update={"pixels_max": 50_176})
OTHER_REVISION = CARD.source.model_copy(update={"revision": "other"})


@pytest.mark.parametrize(
    ("content", "card", "owner"),
    [
        (b"other pixels", CARD, OWNER),
        (b"pixels", CARD.model_copy(update={"id": "other"}), OWNER),
        (b"pixels", CARD.model_copy(update={"source": OTHER_REVISION}), OWNER),
        (b"pixels", CARD.model_copy(update={"vision": OTHER_VISION}), OWNER),
        (b"pixels", CARD, Owner("other", "project")),
    ],
    ids=["pixels", "model", "revision", "processor", "organisation"],
)
def test_whatever_changes_what_is_seen_changes_its_name(content: bytes, card: object, owner: Owner):
    """And the organisation, so that nobody can find out what another has shown."""
    assert identity(content, card, owner) != identity(b"pixels", CARD, OWNER)


def test_the_same_pixels_have_the_same_name():
    """In every gateway, and for every project of an organisation: caches and routing go by it."""
    assert identity(b"pixels", CARD, OWNER) == identity(b"pixels", CARD, Owner("org", "other"))


def test_no_two_contents_run_together():
    """Each part is counted, so none can lend another its end."""
    assert identity(b"pixels", CARD, Owner("o", "p")) != identity(b"opixels", CARD, Owner("", "p"))
