"""The manifests of an export, one a day, each with the checksum of the one before."""

from dataclasses import dataclass
from datetime import date, timedelta

from exports.errors import Damaged, Gap
from exports.manifest import FOLDER, Item, Manifest, NotAManifest, checksum, day_of, decode, key_of
from exports.target import Target

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Link:
    """A manifest, and the checksum of its bytes as they are stored."""

    manifest: Manifest
    sha256: str


def verify(target: Target) -> list[Manifest]:
    """Read every manifest and every object, oldest first. Raises `Damaged` or `Gap`, which name what is wrong."""
    manifests = []
    previous: Link | None = None
    for day in days_exported(target):
        link = load(target, day)
        check_follows(previous, link)
        check_intact(target, link.manifest)
        manifests.append(link.manifest)
        previous = link
    if not manifests:
        raise Damaged("there is no manifest here; check the address of the export")
    return manifests


def days_exported(target: Target) -> list[date]:
    """The days that have a manifest, oldest first. Raises `Damaged`."""
    days = []
    for key in target.keys(FOLDER):
        try:
            days.append(day_of(key))
        except NotAManifest as error:
            raise Damaged(f"{key} is not a manifest; move it away") from error
    return days


def find(target: Target, day: date) -> Link | None:
    """The manifest of a day, if it was exported. Raises `Damaged`."""
    key = key_of(day)
    data = target.read(key)
    if data is None:
        return None
    try:
        manifest = decode(data)
    except NotAManifest as error:
        raise Damaged(f"{key} is not a manifest; restore it from a copy") from error
    if manifest.day != day:
        raise Damaged(f"{key} is the manifest of another day; restore it from a copy")
    return Link(manifest, checksum(data))


def load(target: Target, day: date) -> Link:
    """The manifest of a day that was exported. Raises `Damaged`."""
    link = find(target, day)
    if link is None:
        raise Damaged(f"{key_of(day)} is missing; restore it from a copy")
    return link


def check_follows(previous: Link | None, link: Link) -> None:
    """Raise `Gap` or `Damaged` unless the second is the day after the first; without a first, the beginning."""
    manifest, key = link.manifest, key_of(link.manifest.day)
    follows = (None, 0) if previous is None else (previous.sha256, previous.manifest.last_seq)
    if previous and manifest.day != previous.manifest.day + ONE_DAY:
        raise Gap(f"{key_of(previous.manifest.day + ONE_DAY)} is missing; restore it from a copy")
    if (manifest.previous_sha256, manifest.after_seq) != follows:
        raise Damaged(f"{key} does not follow from the manifest before it; restore both from a copy")


def check_intact(target: Target, manifest: Manifest) -> None:
    """Raise `Damaged` unless every object of a day is stored as its manifest says."""
    for part in manifest.parts:
        for item in part.items:
            read(target, item)


def read(target: Target, item: Item) -> bytes:
    """An object's content. Raises `Damaged`."""
    data = target.read(item.key)
    if data is None:
        raise Damaged(f"{item.key} is missing; restore it from a copy")
    if checksum(data) != item.sha256:
        raise Damaged(f"{item.key} is not what its manifest says; restore it from a copy")
    return data
