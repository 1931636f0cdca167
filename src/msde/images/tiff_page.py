"""One page of a TIFF by tifffile: what it holds, and its samples strip by strip or tile by tile."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.codestream import is_whole, stated
from msde.images.files import FaultError, missing
from msde.images.intensity import stated_range
from msde.images.jpeg_gaps import has_gap
from msde.images.remembered import remembering, state_of
from msde.images.samples import MAX_PIXELS, Samples, check_size
from msde.images.upright import upright
from msde.images.ycbcr import to_rgb

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_REDUCED, _MASK = 1, 4
_JPEG, _OLD_JPEG, _LZW, _APERIO_YCBCR = 7, 6, 5, 33003
_TO_RGB = {_JPEG, _APERIO_YCBCR, 33005, 34712, 34892, 50001, 50002}  # codecs that turn colours into RGB themselves
_ALPHA = 2
_LERC = b"Lerc2 "
_ORIENTATION = 274


class Layout(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    width, height : int
        Of the first page.
    in_tiles : bool
        Whether the first page is stored in tiles.
    pages : tuple of int
        Which pages are pictures, and neither reduced copies nor masks of others.
    for_pillow : frozenset of int
        Which of them Pillow reads, and this does not, or more slowly.
    """

    width: int
    height: int
    in_tiles: bool
    pages: tuple[int, ...]
    for_pillow: frozenset[int]


def layout(path: str, name: str) -> Layout:
    """Read what a file holds.

    Raises
    ------
    FaultError
        The file ends before its pages do.
    ImportError
        tifffile is missing.
    """
    return _layout(path, name, *state_of(path))


@remembering(8)  # the pages of one file are read one after the other
def _layout(path: str, name: str, *_: int) -> Layout:
    with _opened(path, name) as file:
        pages, size = list(file.pages), file.filehandle.size
        file.filehandle.seek(file.pages.next_page_offset)
        if any(file.filehandle.read(file.tiff.offsetsize)):
            raise FaultError("its pages end early")
        for page in pages:
            if any(start >= size for start in page.subifds or ()):
                raise FaultError("the file ends early")
            for one in (page, *(page.pages or ())):
                check_extent(one, size)
        pictures = [k for k, page in enumerate(pages) if not _is_copy(page)] or [0]
        first = pages[pictures[0]]
        size_and_form = int(first.imagewidth), int(first.imagelength), bool(first.is_tiled)
        return Layout(*size_and_form, tuple(pictures), frozenset(k for k in pictures if _is_for_pillow(pages[k])))


def check_extent(page: Any, size: int) -> None:
    """Refuse a page whose data do not lie in a file of `size` bytes."""
    ends = zip(page.dataoffsets, page.databytecounts, strict=False)
    if any(start + length > size for start, length in ends):
        raise FaultError("the file ends early")


def decode_page(path: str, number: int, name: str) -> Samples:
    """Decode one page.

    Parameters
    ----------
    path : str
        The file.
    number : int
        Which page of the file, from 0.
    name : str
        What an error calls it.

    Returns
    -------
    Samples

    Raises
    ------
    ImageError
        It is of a kind that is not read, or a library is missing.
    FaultError
        It is damaged.
    """
    with _opened(path, name) as file:
        page = file.pages[number]
        check_size(int(page.imagewidth), int(page.imagelength), name)
        _check_kind(page, name)
        return _samples(page, _whole(file, page), name)


def blocks(file: Any, page: Any, window: tuple[int, int, int, int]) -> Iterator[tuple[int, int, NDArray[Any] | None]]:
    """Decode the strips or tiles that a window of a page in one plane touches.

    Parameters
    ----------
    file : tifffile.TiffFile
    page : tifffile.TiffPage
    window : tuple of int
        Left, top, right and bottom in pixels.

    Yields
    ------
    int, int, ndarray or None
        Left, top, and samples of shape (h, w, c); None where the file leaves the block out.

    Raises
    ------
    FaultError
        A block is damaged or ends early.
    """
    height, width = page.chunks[:2]
    across = -(-page.imagewidth // width)
    for row in range(window[1] // height, -(-window[3] // height)):
        for column in range(window[0] // width, -(-window[2] // width)):
            top, left = row * height, column * width
            decoded = _block(file, page, row * across + column)
            if decoded is not None:
                decoded = decoded[: page.imagelength - top, : page.imagewidth - left]
            yield left, top, decoded


def _block(file: Any, page: Any, index: int) -> NDArray[Any] | None:
    size = page.databytecounts[index]
    if not size:
        return None
    file.filehandle.seek(page.dataoffsets[index])
    data = file.filehandle.read(size)
    if len(data) < size:
        raise FaultError("the file ends early")
    header = stated(data)
    if header is not None:
        if header.height > page.chunks[0] or header.width > page.chunks[1]:
            raise FaultError("a tile or strip holds more pixels than it states")
        if not is_whole(data):
            raise FaultError("a tile or strip ends early")
    if data.startswith(_LERC) and not _fits_lerc(data, page):
        raise FaultError("a tile or strip holds more pixels than it states")

    def decode(data: bytes) -> NDArray[Any]:
        values: NDArray[Any] = page.decode(data, index, jpegtables=page.jpegtables)[0][0]
        return values

    try:
        decoded = decode(data)
    except MemoryError:  # a decoder makes room for what a damaged stream states
        raise FaultError("a tile or strip is larger than any picture") from None
    if has_gap(data, decoded, decode):
        raise FaultError("a tile or strip lacks a part")
    return to_rgb(decoded, 8) if page.compression == _APERIO_YCBCR and decoded.shape[-1] == 3 else decoded


def _fits_lerc(data: bytes, page: Any) -> bool:
    """Return whether a LERC stream states no more than its tile or strip has."""
    version = int.from_bytes(data[6:10], "little")
    at = 14 if version >= 3 else 10  # behind a checksum
    rows, columns, depth = struct.unpack_from("<3I", data.ljust(at + 12, b"\0"), at)
    return bool(rows * columns <= math.prod(page.chunks) and (version < 4 or depth <= 4))


def _whole(file: Any, page: Any) -> NDArray[Any]:
    """Decode a page to (height, width, channels)."""
    planes = int(page.samplesperpixel) if page.planarconfig == 2 else 1
    height, width = page.chunks[-2:] if planes > 1 else page.chunks[:2]
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    if not planes * down * across == len(page.dataoffsets) == len(page.databytecounts):
        raise FaultError("it has not all of its tiles or strips")
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    out: NDArray[Any] = np.empty(shape, page.dtype.newbyteorder("="))
    for index in range(planes * down * across):
        plane, rest = divmod(index, down * across)
        top, left = rest // across * height, rest % across * width
        decoded = _block(file, page, index)
        if decoded is None:
            raise FaultError("it has not all of its tiles or strips")
        target = out[top : top + height, left : left + width, slice(plane, plane + 1) if planes > 1 else slice(None)]
        target[...] = decoded[: target.shape[0], : target.shape[1]]
    return out


def _is_for_pillow(page: Any) -> bool:
    colours = int(page.photometric)
    if page.bitspersample != 8 or page.planarconfig != 1 or page.parent.is_bigtiff:
        return False
    if colours == _YCBCR:
        return page.compression not in _TO_RGB
    # Pillow unpacks LZW three times as fast.
    plain = page.compression == _LZW and colours in (_BLACK_IS_ZERO, _RGB) and page.dtype == np.uint8
    return colours in (_CMYK, _LAB) or page.compression == _OLD_JPEG or plain


def _check_kind(page: Any, name: str) -> None:
    import tifffile

    kinds = []
    if page.compression != 1 and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        kinds.append(f"compression {int(page.compression)}")
    if page.dtype is None or page.dtype.kind not in "biuf":
        kinds.append(f"samples of {int(page.bitspersample)} bits in format {int(page.sampleformat)}")
    elif int(page.photometric) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR):
        kinds.append(f"colours of kind {int(page.photometric)}")
    if page.imagedepth > 1:
        kinds.append("several pictures in depth")
    if page.samplesperpixel not in _channels(page):
        kinds.append(f"{int(page.samplesperpixel)} channels of no stated colour")
    if kinds:
        raise ImageError(f"{name}: is a TIFF of a kind that is not read ({', '.join(kinds)}); save it as gray or RGB")
    if math.prod(page.chunks) > 4 * MAX_PIXELS:
        raise FaultError("a tile or strip is larger than any picture")


def _channels(page: Any) -> tuple[int, ...]:
    return (3, 4) if int(page.photometric) in (_RGB, _YCBCR) else (1, 2)


def _samples(page: Any, values: NDArray[Any], name: str) -> Samples:
    colours, bits = int(page.photometric), int(page.bitspersample)
    least = _channels(page)[0]
    if values.shape[2] > least and int((page.extrasamples or (0,))[0]) != _ALPHA:
        values = values[..., :least]  # premultiplied, so they are over black already, or of no stated meaning
    if values.shape[2] == 1:
        values = values[..., 0]
    black, white = stated_range(values.dtype)
    if values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize:
        white = float(2**bits - 1)
    if colours == _PALETTE:
        values, white = _from_palette(page, values), 255.0
    turned = upright(values, int(page.tags.valueof(_ORIENTATION, 1)))
    return Samples(turned, *((white, black) if colours == _WHITE_IS_ZERO else (black, white)))


def _from_palette(page: Any, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of a palette of 16 bits in 8, which some writers store as they are."""
    table = np.asarray(page.colormap)
    if table.max() > 255:
        table = table // 256
    return table.astype(np.uint8)[:, values].transpose(1, 2, 0)


def _is_copy(page: Any) -> bool:
    kind = int(page.subfiletype or 0)
    return bool(kind & (_REDUCED | _MASK))


@contextmanager
def _opened(path: str, name: str) -> Iterator[Any]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        try:
            yield file
        except (ImageError, FaultError):
            raise
        except (ImportError, ValueError, RuntimeError) as error:
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                raise missing(name, "this kind of TIFF", "slides") from None
            raise
