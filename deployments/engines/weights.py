"""Where a card's weights lie on this node: in the checkout, at a hub, or copied once from S3 to the node's own disk."""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import boto3

from catalog.card import Source


class WeightsError(Exception):
    """A card's weights are not where its source says."""


def locate(source: Source, checkout: Path, cache: Path) -> Path | str:
    """A local folder, or a hub id for the engine to resolve. Raises `WeightsError`."""
    if source.hub is not None:
        return source.hub
    if source.s3 is not None:
        return _copied(source.s3, cache)
    folder = checkout / str(source.path)
    if not folder.is_dir():
        raise WeightsError(f"there are no weights in {folder}; correct the card's source.path")
    return folder


def _copied(url: str, cache: Path) -> Path:
    """The node's copy of everything below `url`. Two replicas that copy at once do no harm: the last rename wins."""
    folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    address = urlsplit(url)
    prefix = address.path.strip("/") + "/"
    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=address.netloc, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")]
    if not keys:
        raise WeightsError(f"there is nothing below {url}; correct the card's source.s3")
    for key in keys:
        target = unfinished / _within(key.removeprefix(prefix), url)
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(address.netloc, key, str(target))
    return unfinished.rename(folder)


def _within(name: str, url: str) -> PurePosixPath:
    """A key as a relative path. Raises `WeightsError` for one that would lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise WeightsError(f"an object below {url} has a name that leads out of its folder")
    return path
