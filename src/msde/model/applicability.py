"""Which images a model is for: those of the modality and body part of its normals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from msde.errors import DataError
from msde.images.depicted import ALIKE, REGIONS, Depicted

ANY = "any"
_FEWEST = 0.01  # of the normals: what is rarer may be stated by mistake
_MOST = 0.5  # have to state a region, or none is known


@dataclass(frozen=True)
class Applicability:
    """Kinds of images that a model is for.

    Parameters
    ----------
    to : sequence of str
        Such as ``"DX:CHEST"``, or ``"MR"`` of any body part.
    source : str
        How that is known.
    """

    to: Sequence[str]
    source: str

    @classmethod
    def stated(cls, kinds: Iterable[str]) -> Self | None:
        """Take what a user states; None for ``"any"``.

        Raises
        ------
        DataError
            If it is none.
        """
        kinds = [kind.upper() for kind in kinds]
        if kinds == [ANY.upper()]:
            return None
        for kind in kinds:
            modality, _, region = kind.partition(":")
            if not (modality.isascii() and modality.isalnum() and len(modality) <= 16) or modality == ANY.upper():
                raise DataError(f"{kind!r} names no modality of DICOM; give one such as DX or DX:CHEST, or {ANY} alone")
            if region and region not in REGIONS:
                raise DataError(f"{region!r} is no body part that is known; give one of {', '.join(REGIONS)}")
        return cls(tuple(dict.fromkeys(kinds)), "stated at the fit")

    @classmethod
    def of(cls, normals: Sequence[Depicted | None]) -> Self | None:
        """Find out by the headers of the normals; None where fewer than half of these have any that tell."""
        known = [normal for normal in normals if normal is not None]
        if not known or len(known) < _MOST * len(normals):
            return None
        kinds: list[str] = []
        for modality, n in sorted(Counter(normal.modality for normal in known).items()):
            if n < _FEWEST * len(known):
                continue
            of_modality = [normal.regions for normal in known if normal.modality == modality]
            stating = sum(map(bool, of_modality))
            counts = Counter(region for regions in of_modality for region in regions)
            regions = [region for region, times in sorted(counts.items()) if times >= _FEWEST * stating]
            kinds += [f"{modality}:{region}" for region in regions] if stating >= _MOST * n else [modality]
        return cls(tuple(kinds), f"by DICOM headers of {len(known)} of {len(normals)} normals")

    @property
    def in_words(self) -> str:
        """Such as "CR of CHEST, DX of CHEST"."""
        return ", ".join(kind.replace(":", " of ") for kind in self.to)

    def why_not(self, image: Depicted | None) -> str | None:
        """Say why an image is not for the model; None where it is, or does not state what it depicts."""
        if image is None:
            return None
        kinds = [kind.partition(":") for kind in self.to]
        regions = {region for modality, _, region in kinds if _alike(modality) == _alike(image.modality)}
        fits = bool(regions) and ("" in regions or not image.regions or not image.regions.isdisjoint(regions))
        return None if fits else f"not for this model: it is {image.in_words}, and the model is for {self.in_words}"


def _alike(modality: str) -> str:
    return ALIKE.get(modality, modality)
