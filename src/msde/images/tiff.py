"""Read TIFF: one picture, a stack of pages, or a slide or other very large picture by its tiles.

A file is read by tiles where its first picture is over `MAX_PIXELS`, or is over `SLIDE_SIDE` on a side and stored in
tiles, as whole-slide images are. Of a pyramid the level nearest to one micrometre a pixel is taken; of a file that
states no resolution, the finest. Tiles have `TILE` px a side and do not overlap, but for the last of a row or column,
which ends at the border. Of a colour picture, tiles are left out of which less than `LEAST_TISSUE` is tissue.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images import raster
from msde.images.files import MAX_PARTS, Contents, FaultError, damaged, missing, number_of, numbered, whole
from msde.images.formats import MIRAX, Format
from msde.images.pyramid import Pyramid, readable
from msde.images.remembered import remembering, state_of
from msde.images.samples import MAX_PIXELS, MIN_SIDE, Samples, check_size
from msde.images.tiff_page import blocks, check_extent, decode_page, layout

TILE = 512
SLIDE_SIDE = 4096
MICROMETRES = 1.0
LEAST_TISSUE = 0.25
COLOURED = 0.07
"""Difference of the strongest and the weakest channel, as a share of white, from which a pixel is tissue: glass and the
scanner's filling are gray."""

_OVERVIEW = 1024
_PLACE = re.compile(r"x(\d{6})y(\d{6})")
_RESOLUTION = re.compile(r"MPP\s*=\s*(\d*\.?\d+)")
T = TypeVar("T")
_UNITS = {2: 25_400.0, 3: 10_000.0}  # TIFF's code -> micrometres in an inch and a centimetre


def look_into(path: str, form: Format, name: str) -> Contents:
    """List the pages, or the tiles with tissue.

    Raises
    ------
    ImageError
        The file is damaged, or a slide without tissue.
    """
    if _is_slide(path, form, name):
        return Contents(_tiles(path, name))
    if not find_spec("tifffile"):
        return raster.look_into(path, form, name)
    return Contents(numbered(len(layout(path, name).pages)))


def decode(path: str, form: Format, part: str | None, name: str) -> Samples:
    """Decode one page or tile.

    Parameters
    ----------
    path : str
        The file.
    form : Format
        TIFF.
    part : str or None
        Number of a page, or place of a tile such as ``x001024y000512``.
    name : str
        What an error calls it.

    Returns
    -------
    Samples

    Raises
    ------
    ImageError
        No whole picture within the limits, or one stored in a way that is not read by tiles.
    """
    place = _PLACE.fullmatch(part or "")
    if place:
        return _tile(path, int(place[1]), int(place[2]), name)
    if part is None and _is_slide(path, form, name):
        tiles = _tiles(path, name)
        raise ImageError(f"{name}: holds {len(tiles)} tiles with tissue; name one, such as {name}#{tiles[0]}")
    if not find_spec("tifffile"):
        return raster.decode(path, form, part, name)
    found = layout(path, whole(name, part))
    page = found.pages[number_of(part, len(found.pages), name, "pages or frames")]
    return raster.decode(path, form, part, name) if page in found.for_pillow else decode_page(path, page, name)


def _is_slide(path: str, form: Format, name: str) -> bool:
    if form is MIRAX:
        return True
    if find_spec("tifffile"):
        width, height, in_tiles, *_ = layout(path, name)
    else:
        width, height, in_tiles = raster.tiff_layout(path, form, name)
    return width * height > MAX_PIXELS or (in_tiles and max(width, height) > SLIDE_SIDE)


def _tiles(path: str, name: str) -> list[str]:
    tiles = _tiles_with_tissue(path, name, *state_of(path))
    if not tiles:
        raise ImageError(f"{name}: shows no tissue, no tile has colour in {LEAST_TISSUE:.0%} of it; check the slide")
    return tiles


@remembering(4)
def _tiles_with_tissue(path: str, name: str, *_: int) -> list[str]:
    def listed(slide: _Slide | Pyramid) -> list[str]:
        kept = _tissue(slide)
        steps = [_places(side) for side in slide.shape]
        return [_label(x, y) for y in steps[0] for x in steps[1] if _share(kept, slide.shape, x, y) >= LEAST_TISSUE]

    return _in_slide(path, name, listed)


def _tile(path: str, x: int, y: int, name: str) -> Samples:
    def cut(slide: _Slide | Pyramid) -> NDArray[Any]:
        if x not in _places(slide.shape[1]) or y not in _places(slide.shape[0]):
            raise ImageError(f"{name}: there is no tile at this place; list the tiles with find_images")
        return slide.region(x, y, min(TILE, slide.shape[1]), min(TILE, slide.shape[0]))

    tile = _in_slide(path, whole(name, _label(x, y)), cut)
    check_size(tile.shape[1], tile.shape[0], name)
    return Samples(tile, 0.0, float(np.iinfo(tile.dtype).max))


def _in_slide(path: str, name: str, work: Callable[[_Slide | Pyramid], T]) -> T:
    """Do something with a slide: by tifffile, or by OpenSlide where tifffile cannot."""
    if path.lower().endswith(MIRAX.suffixes):
        return _by_openslide(path, name, work)
    try:
        with _Slide(path, name) as slide:
            return work(slide)
    except _UnusualLayoutError as unusual:
        if not readable(path):
            raise
        try:
            return _by_openslide(path, name, work)
        except ImageError:
            raise unusual from None


def _by_openslide(path: str, name: str, work: Callable[[_Slide | Pyramid], T]) -> T:
    with Pyramid(path, name, MICROMETRES, MIN_SIDE) as pyramid:
        _check_extent(name, *pyramid.shape)
        return work(pyramid)


def _check_extent(name: str, height: int, width: int) -> None:
    if height * width > MAX_PARTS * TILE**2:
        raise ImageError(f"{name}: has over {MAX_PARTS:,} tiles; cut it into parts")


def _tissue(slide: _Slide | Pyramid) -> NDArray[np.bool_] | None:
    """Draw an overview of what is tissue; None for a gray picture, which has no glass around it."""
    sizes = [max(shape) for shape in slide.levels]
    level = min(range(len(sizes)), key=lambda level: abs(math.log(sizes[level] / _OVERVIEW)))
    (height, width), step = slide.levels[level], max(1, sizes[level] // _OVERVIEW)
    kept: NDArray[np.bool_] = np.zeros((-(-height // step), -(-width // step)), bool)
    for left, top, block in slide.blocks(level):
        if block.shape[2] < 3:
            return None
        colours = block[-top % step :: step, -left % step :: step, :3].astype(np.float32)
        found = np.ptp(colours, axis=2) > COLOURED * slide.white
        row, column = -(-top // step), -(-left // step)
        kept[row : row + found.shape[0], column : column + found.shape[1]] = found
    return kept


def _share(kept: NDArray[np.bool_] | None, shape: tuple[int, int], x: int, y: int) -> float:
    """Measure how much of a tile is tissue, in [0, 1]."""
    if kept is None:
        return 1.0
    rows, columns = (kept.shape[axis] / shape[axis] for axis in (0, 1))
    part = kept[
        int(y * rows) : max(int(y * rows) + 1, round((y + TILE) * rows)),
        int(x * columns) : max(int(x * columns) + 1, round((x + TILE) * columns)),
    ]
    return float(part.mean()) if part.size else 0.0


def _label(x: int, y: int) -> str:
    return f"x{x:06}y{y:06}"


def _places(side: int) -> list[int]:
    """Give where tiles begin along a side; the last ends with it."""
    return [*range(0, max(side - TILE, 0), TILE), max(side - TILE, 0)]


class _UnusualLayoutError(ImageError):
    """The file is sound, but stored in a way that is not read by tiles here."""


class _Slide:
    """One level of a slide, its pixels decoded strip by strip or tile by tile as they are needed.

    Whatever goes wrong in a block on it is one line about the file.
    """

    def __init__(self, path: str, name: str) -> None:
        try:
            import tifffile
        except ImportError:
            raise missing(name, "a slide", "slides") from None
        self._name = name
        try:
            self._file = tifffile.TiffFile(path)
        except Exception as error:
            raise damaged(name, "TIFF", type(error).__name__) from None

    def __enter__(self) -> _Slide:
        try:
            self._levels = [level.keyframe for level in self._file.series[0].levels]
            self._page = self._nearest_level()
            self._check()
        except BaseException as error:
            self.__exit__(type(error), error)
            raise
        self.levels = [(int(page.imagelength), int(page.imagewidth)) for page in self._levels]
        self.shape = int(self._page.imagelength), int(self._page.imagewidth)
        self.white = int(np.iinfo(self._page.dtype).max)
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self._file.close()
        if (
            error is None
            or isinstance(error, ImageError | FaultError | MemoryError)
            or not isinstance(error, Exception)
        ):
            return
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise missing(self._name, "a compressed slide", "slides") from None
        raise damaged(self._name, "TIFF", type(error).__name__) from None

    def region(self, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Decode a rectangle to (height, width) or (height, width, 3)."""
        out: NDArray[Any] = np.zeros((height, width, self._page.samplesperpixel), self._page.dtype)
        for left, top, block in self._blocks(self._page, (x, y, x + width, y + height)):
            rows = slice(max(top - y, 0), min(top - y + block.shape[0], height))
            columns = slice(max(left - x, 0), min(left - x + block.shape[1], width))
            out[rows, columns] = block[
                rows.start + y - top : rows.stop + y - top, columns.start + x - left : columns.stop + x - left
            ]
        return out[..., 0] if out.shape[2] == 1 else out[..., :3]

    def blocks(self, level: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Decode all of a level, as (left, top, samples of shape (h, w, c))."""
        page = self._levels[level]
        return self._blocks(page, (0, 0, page.imagewidth, page.imagelength))

    def _nearest_level(self) -> Any:
        finest = self._levels[0]
        stated = _micrometres(finest)
        if stated is None:
            return finest
        levels = [page for page in self._levels if min(page.imagelength, page.imagewidth) >= MIN_SIDE]
        return min(levels, key=lambda page: abs(math.log(stated * finest.imagewidth / page.imagewidth / MICROMETRES)))

    def _check(self) -> None:
        for page in self._levels:
            if math.prod(page.chunks[:2]) > MAX_PIXELS:  # OpenSlide would end the process where memory is short
                raise ImageError(
                    f"{self._name}: is stored in one piece of over {MAX_PIXELS:,} pixels; save it in tiles"
                )
        for page in self._levels:
            if page.planarconfig != 1 or page.samplesperpixel not in (1, 3, 4) or page.dtype not in ("u1", "u2"):
                raise _UnusualLayoutError(
                    f"{self._name}: is a slide in an unusual layout; save it with 8 or 16 bits, gray or RGB"
                )
            n = -(-page.imagelength // page.chunks[0]) * -(-page.imagewidth // page.chunks[1])
            check_extent(page, self._file.filehandle.size)
            if not n == len(page.dataoffsets) == len(page.databytecounts):
                raise damaged(self._name, "TIFF", "it has not all of its tiles or strips")
            _check_extent(self._name, page.imagelength, page.imagewidth)

    def _blocks(self, page: Any, window: tuple[int, int, int, int]) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Decode the strips or tiles that a window touches, as (left, top, samples of shape (h, w, c))."""
        for left, top, block in blocks(self._file, page, window):
            if block is None:  # a tile that was left out is the background
                size = min(page.chunks[0], page.imagelength - top), min(page.chunks[1], page.imagewidth - left)
                block = np.full((*size, page.samplesperpixel), np.iinfo(page.dtype).max, page.dtype)
            yield left, top, block


def _micrometres(page: Any) -> float | None:
    """Read the size of a pixel from a scanner's description or the tags; None where no likely one is stated."""
    said = _RESOLUTION.search(page.description or "")
    size = float(said[1]) if said else 0.0
    if not size and page.tags.get(282) and page.tags.get(296):
        numerator, denominator = page.tags[282].value
        size = _UNITS.get(int(page.tags[296].value), 0.0) * denominator / numerator if numerator else 0.0
    return size if 0.05 <= size <= 20 else None
