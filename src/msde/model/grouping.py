"""Images that are of one patient, before a fit, a calibration or an evaluation."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msde.embedding.embed import Embedded
from msde.errors import DataError
from msde.images import Part, expanded
from msde.images.patients import PATTERN, TABLE, Key, Patients, settled
from msde.method.arrays import IndexArray
from msde.method.groups import UNKNOWN, joined

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource
    from msde.model.training_set import Keys

Groups = Patients | Sequence[Hashable]
"""How patients are told, or the label of each image's; None in place of a label where that is not known."""


def with_keys(images: Iterable[ImageSource], groups: Groups | None) -> tuple[Iterable[ImageSource], Keys]:
    """Return images to embed, and what then gives the keys of each in turn.

    Parameters
    ----------
    images : iterable of paths, Pillow images or arrays
    groups : Patients or sequence of labels, optional
        By default DICOM files go by their headers.

    Raises
    ------
    DataError
        As the images are gone through, if there are more or fewer labels than images.
    """
    if groups is None or isinstance(groups, Patients):
        patients = groups or Patients()
        return images, lambda image: patients.keys(image.source)
    waiting: deque[Hashable] = deque()

    def labelled() -> Iterator[Any]:
        labels = iter(groups)
        for number, source in enumerate(images):
            if number == len(groups):
                raise DataError(f"groups has {len(groups)} labels, and there are more images; give one an image")
            label = next(labels)
            for part in expanded([source]):
                waiting.append(label)
                yield part
        if rest := len(list(labels)):
            raise DataError(f"groups has {rest} labels more than there are images; give one an image")

    def keys_of(image: Embedded) -> Iterable[Key]:
        label = waiting.popleft()
        return () if label is None else (("label", label),)

    return labelled(), keys_of


def number_groups(
    sources: Sequence[Any], patients: Patients, *, one_is_none: bool = True
) -> tuple[list[frozenset[Any]], IndexArray]:
    """Tell which images are of one patient, or one volume; return the keys of each, and its number or -1.

    `one_is_none` is as in :func:`msde.images.patients.settled`.
    """
    keys, _ = settled([patients.keys(source) for source in sources], one_is_none=one_is_none)
    volumes = [{("volume", source.volume)} if isinstance(source, Part) else set() for source in sources]
    return keys, joined([of_image | volume for of_image, volume in zip(keys, volumes, strict=True)])


def check_groups(
    groups: Groups | None, names: Sequence[str], keys: Sequence[Collection[Any]], numbers: IndexArray
) -> list[str]:
    """Check that what was said of patients holds for images; return what is to be told of it, a line each.

    Parameters
    ----------
    groups : Patients or sequence of labels, optional
    names : sequence of str
        Of n images.
    keys : sequence of collections
        Of each.
    numbers : ndarray of shape (n,)
        The group of each, or -1.

    Raises
    ------
    DataError
        If a pattern or a table tells the patient of no image, or the user's word puts all images into one group.
    """
    stated = groups is not None and not (isinstance(groups, Patients) and not groups.stated)
    lines = check_ways(groups, names, keys) if isinstance(groups, Patients) else []
    if len(numbers) > 1 and not numbers.any() and UNKNOWN not in numbers:
        alone = f"all {len(names)} images are of one patient or volume"
        if stated:
            raise DataError(f"{alone} by what was given; at least two are needed, so correct it")
        lines.append(f"{alone}: what is said of false alarms holds for no other; add normals of others")
    return lines


def check_ways(patients: Patients, names: Sequence[str], keys: Sequence[Collection[Key]]) -> list[str]:
    """Check that a pattern and a table tell the patient of images; return a line for each that does not of some.

    Raises
    ------
    DataError
        If one tells the patient of none.
    """
    lines = []
    ways = {
        PATTERN: patients.pattern and f"the pattern {patients.pattern!r}",
        TABLE: patients.table and patients.table.path,
    }
    for kind, way in ways.items():
        others = [name for name, of_image in zip(names, keys, strict=True) if kind not in {key[0] for key in of_image}]
        if way and len(others) == len(names):
            raise DataError(
                f"{way} tells the patient of none of the {len(names)} images{f', such as {names[0]}' if names else ''}"
            )
        if way and others:
            lines.append(
                f"{way} does not tell the patient of {len(others)} of {len(names)} images, such as {others[0]}"
            )
    return lines
