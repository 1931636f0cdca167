"""What readers say of images: verdicts as the service exports them, and what follows where there are several."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from msde.errors import DataError
from msde.images import Part
from msde.storage.digests import digest_of

WORDS = ("normal", "abnormal", "unsure")
WITHDRAWN = "withdrawn"
"""What stands in the place of a word that a reader has taken back."""
DISPUTED = "disputed"
"""What an image is that one reader calls normal and another abnormal."""
_LISTED = 10
_COLUMNS = ("name", "digest", "verdict")


@dataclass(frozen=True)
class Verdict:
    """What a reader says of an image.

    Parameters
    ----------
    image : str
        SHA-256 of the file, in hexadecimal.
    name : str
        What the image is called.
    word : {"normal", "abnormal", "unsure", "withdrawn"}
        The last where the reader takes back what was said before.
    reader : str
    p_value : float
        What the model said then; NaN where that is not known.
    """

    image: str
    name: str
    word: str
    reader: str = ""
    p_value: float = math.nan


@dataclass(frozen=True)
class Verdicts:
    """What readers say of images, the latest word of each reader; what was withdrawn is not said.

    Parameters
    ----------
    words : mapping of str to mapping of str to str
        By image and reader.
    names : mapping of str to str
        By image.
    p_values : mapping of str to float
        What a model said of the image when it was first looked at, by image; NaN where that is not known.
    """

    words: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str]
    p_values: Mapping[str, float]

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Self:
        """Sort verdicts by image, the oldest first."""
        words: dict[str, dict[str, str]] = {}
        names: dict[str, str] = {}
        p_values: dict[str, float] = {}
        for one in verdicts:
            of_image = words.setdefault(one.image, {})
            if one.word == WITHDRAWN:
                of_image.pop(one.reader, None)
            else:
                of_image[one.reader] = one.word
            names[one.image] = one.name
            if math.isnan(p_values.get(one.image, math.nan)):
                p_values[one.image] = one.p_value
        return cls(words, names, p_values)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a table as the service exports it: the columns name, digest and verdict, the oldest row first.

        The columns reader and p_value count too where they are there, and others are passed over.

        Raises
        ------
        DataError
            If it cannot be read, or lacks a column or a value.
        """
        name = os.fspath(path)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
                if missing:
                    raise DataError(
                        f"{name}: has no column {' and none '.join(missing)}; give verdicts as the service exports them"
                    )
                rows = [_verdict(row, f"{name}, line {reader.line_num}") for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{name}: cannot be read ({reason}); give a CSV file in UTF-8") from None
        if not rows:
            raise DataError(f"{name}: has no verdicts; export them when readers have given some")
        return cls.of(rows)

    @property
    def contradicted(self) -> list[str]:
        """The images that one reader calls normal and another abnormal, by name."""
        return self._settled_as(DISPUTED)

    @property
    def labels(self) -> dict[str, bool]:
        """Whether an image is abnormal, of those that readers agree on; none that all are unsure of."""
        said = {image: settled(words.values()) for image, words in self.words.items()}
        return {image: word == "abnormal" for image, word in said.items() if word in ("normal", "abnormal")}

    @property
    def n_unsure(self) -> int:
        """How many images all their readers are unsure of."""
        return len(self._settled_as("unsure"))

    def among(self, files: Mapping[str, Path], where: str) -> dict[Path, bool]:
        """Return the files whose readers agree, and whether each is abnormal.

        Parameters
        ----------
        files : mapping of str to Path
            By the SHA-256 of each, see `by_digest`.
        where : str
            What an error calls them.

        Raises
        ------
        DataError
            If none of the images with verdicts is there.
        """
        labels = self.labels
        found = {files[image]: labels[image] for image in sorted(labels.keys() & files.keys())}
        if not found:
            first = next(iter(self.names.values()))
            raise DataError(
                f"{where}: holds none of the {len(self.names)} images with verdicts, such as {first}, as a single file"
                " with the bytes that the service was sent; give the folder of these"
            )
        return found

    def left_out(self, files: Mapping[str, Path]) -> list[str]:
        """Say which images with verdicts are not learnt from, and why, a line each."""
        gone = [self.names[image] for image in self.labels if image not in files]
        said = []
        if gone:
            said.append(f"{len(gone)} images with verdicts are not there as single files, such as {gone[0]}")
        if self.n_unsure:
            said.append(f"{self.n_unsure} images are left out, of which readers are unsure")
        if contradictions := self.contradictions():
            said.append(
                f"{len(contradictions)} images are left out, which one reader calls normal and another abnormal:"
                f" {'; '.join(contradictions[:_LISTED])}{'; ...' if len(contradictions) > _LISTED else ''}"
            )
        return said

    def contradictions(self) -> list[str]:
        """Say of each contradicted image who says what."""
        return [f"{self.names[image]} ({_said(self.words[image])})" for image in self.contradicted]

    def _settled_as(self, word: str) -> list[str]:
        found = [image for image, words in self.words.items() if settled(words.values()) == word]
        return sorted(found, key=lambda image: (self.names[image], image))


def settled(words: Iterable[str]) -> str | None:
    """Settle what several readers say of an image, by the latest word of each.

    Examples
    --------
    >>> settled(["normal", "unsure"]), settled(["normal", "abnormal"]), settled([])
    ('normal', 'disputed', None)
    """
    said = set(words)
    called = said - {"unsure"}
    if len(called) > 1:
        return DISPUTED
    return next(iter(called or said), None)


def by_digest(sources: Sequence[Path | Part]) -> dict[str, Path]:
    """Return files that hold one image, by their SHA-256; parts of volumes are passed over.

    Of copies the first stays.
    """
    found: dict[str, Path] = {}
    for source in sources:
        if not isinstance(source, Part):
            found.setdefault(digest_of(source), source)
    return found


def _verdict(row: Mapping[str, str | None], place: str) -> Verdict:
    name, image, word = ((row[column] or "").strip() for column in _COLUMNS)
    if len(image) != 2 * hashlib.sha256().digest_size:
        raise DataError(f"{place}: {image!r} is no SHA-256 of a file; give verdicts as the service exports them")
    if word not in (*WORDS, WITHDRAWN):
        raise DataError(f"{place}: {word!r} is no verdict; give one of {', '.join(WORDS)}")
    try:
        p_value = float(row.get("p_value") or math.nan)
    except ValueError:
        raise DataError(f"{place}: {row.get('p_value')!r} is no p-value; leave it out") from None
    return Verdict(image.lower(), name, word, (row.get("reader") or "").strip(), p_value)


def _said(words: Mapping[str, str]) -> str:
    return ", ".join(f"{who or 'a reader'}: {word}" for who, word in sorted(words.items()))
