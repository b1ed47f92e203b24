import io
import json
from base64 import b64decode

from PIL import Image

from loadtests.body import body
from loadtests.plan import Planned


def test_a_body_has_the_planned_pictures_and_output():
    request = json.loads(body(Planned(0, ((112, 1), (56, 2)), 30, 7, 0), "demo"))
    *pictures, text = request["messages"][0]["content"]
    sizes = [Image.open(io.BytesIO(b64decode(part["image_url"]["url"].partition(",")[2]))).size for part in pictures]
    assert sizes == [(112, 112), (56, 56)]
    assert len(text["text"].split()) == 30
    assert (request["max_tokens"], request["ignore_eos"], request["stream"]) == (7, True, True)


def test_pictures_of_other_seeds_are_other_pictures():
    assert body(Planned(0, ((112, 1),), 0, 1, 0), "demo") != body(Planned(0, ((112, 2),), 0, 1, 0), "demo")
