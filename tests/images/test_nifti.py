from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde.errors import ImageError
from msde.images import ImageRule, Part, nifti, read_pixels
from msde.images.decoder_warnings import decoders_silenced
from msde.images.files import look_into

from .medical import LPS, nifti_bytes
from .pictures import gray_ramp, rgb_ramp

FULL = ImageRule("full-range")
VOLUME = np.stack([np.roll(gray_ramp(), 3 * k, axis=0).T for k in range(9)], axis=2)  # (x, y, z) = (20, 24, 9)


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.nii") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def slices(path: Path, rule: ImageRule = FULL) -> np.ndarray:
    contents = look_into(path, path.name)
    assert contents is not None
    return np.stack([read_pixels(Part(str(path), str(path), label), rule) for label in contents.parts])


def affine(axes: str, steps: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Give the affine of an array whose axes point to these sides, such as "LPS"."""
    back = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(axes), (1, 1, 1))
    return np.linalg.inv(back) @ np.diag([*steps, 1.0])


def in_order(volume: np.ndarray, axes: str) -> np.ndarray:
    """Turn an array of axes LPS to these axes."""
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(axes)
    )
    return nibabel.apply_orientation(volume, turn)


EXPECTED = VOLUME.transpose(2, 1, 0)[::-1] / np.float32(255)  # axial slices from the head down, rows to posterior


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_axial_slices_are_seen_as_a_radiologist_does(keep, packed: bool, kind: type[Any]) -> None:
    path = keep(nifti_bytes(VOLUME, LPS, packed=packed, kind=kind), "scan.nii.gz" if packed else "scan.nii")
    np.testing.assert_array_equal(slices(path), EXPECTED.astype(np.float32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_the_order_of_the_array_does_not_matter(tmp_path: Path, order: list[int], flips: tuple[bool, ...]) -> None:
    axes = "".join(("LR", "PA", "SI")[axis][flip] for axis, flip in zip(order, flips, strict=True))
    path = tmp_path / f"{axes}.nii"
    path.write_bytes(nifti_bytes(in_order(VOLUME, axes), affine(axes)))
    np.testing.assert_array_equal(slices(path), EXPECTED.astype(np.float32))


@pytest.mark.parametrize(
    ("steps", "shape", "turned"),
    [
        ((4, 1, 1), (20, 9, 24), lambda v: v.transpose(0, 2, 1)[:, ::-1]),  # sagittal: rows down, columns to posterior
        ((1, 4, 1), (24, 20, 9), lambda v: v.transpose(1, 2, 0)[:, ::-1]),  # coronal: rows down, columns to left
        ((1, 1.1, 1), (9, 24, 20), lambda v: v.transpose(2, 1, 0)[::-1]),  # not coarse enough, so axial
    ],
)
def test_slices_are_taken_across_the_coarsest_axis(keep, steps, shape, turned) -> None:
    path = keep(nifti_bytes(VOLUME, affine("LPS", steps)))
    seen = slices(path)
    assert seen.shape == (shape[0], *seen.shape[1:])
    np.testing.assert_array_equal(seen, (turned(VOLUME) / np.float32(255)).astype(np.float32))


def test_one_slice_is_one_picture(keep) -> None:
    for values in (gray_ramp().T[..., None], gray_ramp().T):
        path = keep(nifti_bytes(values))
        assert look_into(path, "scan").parts == []
        np.testing.assert_array_equal(read_pixels(path, FULL), read_pixels(gray_ramp()))


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "<i4", "<f4", "<f8"])
def test_slope_and_intercept_give_the_unit(keep, dtype: str) -> None:
    stored = VOLUME.astype(dtype)
    path = keep(nifti_bytes(stored, scl_slope=2.5, scl_inter=-1024))
    expected = np.clip((in_order(VOLUME, "LPI").transpose(2, 1, 0) * 2.5 - 1024 + 1000) / 600, 0, 1)
    np.testing.assert_allclose(slices(path, ImageRule("window:-1000,-400")), expected, atol=1e-6)


def test_the_range_to_show_is_that_of_the_header_or_type_or_the_percentiles(keep) -> None:
    picture = gray_ramp()
    windowed = read_pixels(keep(nifti_bytes(picture.T.astype(np.int16), cal_min=50, cal_max=150)))
    np.testing.assert_array_equal(windowed, read_pixels(picture, ImageRule("window:50,150")))
    np.testing.assert_array_equal(read_pixels(keep(nifti_bytes(picture.T))), read_pixels(picture))
    wide = picture.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_pixels(keep(nifti_bytes(wide.T))), read_pixels(picture))
    for dtype in (np.int16, np.int32, np.float32):
        shown = read_pixels(keep(nifti_bytes(picture.T.astype(dtype), cal_min=9, cal_max=9)))
        np.testing.assert_array_equal(shown, read_pixels(picture, ImageRule("percentile")))


def test_signed_integers_state_no_full_range(keep) -> None:
    path = keep(nifti_bytes(gray_ramp().T.astype(np.int16)))
    with pytest.raises(ImageError, match=r"scan\.nii: samples of type int16 have no stated range; .*percentile"):
        read_pixels(path, FULL)


def test_slices_of_later_times_follow(keep) -> None:
    series = np.stack([VOLUME, 255 - VOLUME], axis=3)
    seen = slices(keep(nifti_bytes(series)))
    np.testing.assert_array_equal(seen[:9], EXPECTED.astype(np.float32))
    np.testing.assert_allclose(seen[9:], 1 - EXPECTED, atol=1e-7)


def test_rgb_volumes_have_colours(keep) -> None:
    colour = np.zeros((20, 24, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        colour[name] = rgb_ramp().transpose(1, 0, 2)[..., channel, None]
    seen = slices(keep(nifti_bytes(colour)))
    np.testing.assert_array_equal(seen[0], read_pixels(rgb_ramp()))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_slice_with_nan_is_refused_and_the_others_are_read(keep, value: float) -> None:
    volume = VOLUME.astype(np.float32)
    volume[3, 4, 8] = value  # the topmost slice, which comes first
    path = keep(nifti_bytes(volume))
    with pytest.raises(ImageError, match=r"scan\.nii#000: holds NaN or infinite samples; replace them"):
        read_pixels(f"{path}#000")
    assert read_pixels(f"{path}#001").max() == 1


def brain(n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Give a volume (x, y, z) of floats, and where it is imaged: a disc with a bay, in all slices but the outer two."""
    x, y, z = np.ogrid[:40, :44, :n]
    inside = ((x - 20) ** 2 + (y - 22) ** 2 < 300) & (z > 0) & (z < n - 1) & ~((x > 20) & (y == 22))
    values = 100 + 3.0 * x + 2.0 * y + 5.0 * z
    return values.astype(np.float32), np.broadcast_to(inside, values.shape)


@pytest.mark.parametrize("intensity", ["dicom", "percentile", "window:0,400"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fields", [{}, {"cal_min": 50, "cal_max": 300}, {"scl_slope": 2, "scl_inter": -300}], ids=str)
def test_nan_outside_of_what_is_imaged_is_background(
    keep, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], packed: bool, intensity: str
) -> None:
    values, inside = brain()
    path = keep(
        nifti_bytes(np.where(inside, values, np.nan), packed=packed, **fields), "a.nii.gz" if packed else "a.nii"
    )
    rule = ImageRule(intensity)
    seen = slices(path, rule)
    assert [record.image for record in caplog.records] == [str(path)]  # type: ignore[attr-defined]
    assert "a.nii" not in caplog.text
    unit = values * fields.get("scl_slope", 1) + fields.get("scl_inter", 0)
    for plane, z in zip(seen, reversed(range(5)), strict=True):
        mask = inside[..., z].T
        assert (plane[~mask] == 0).all()
        if not mask.any():
            continue
        picture = unit[..., z].T[mask]
        low, high = np.percentile(picture, [0.5, 99.5], method="nearest")
        if intensity == "dicom" and "cal_min" in fields:
            low, high = 50, 300
        elif intensity.startswith("window"):
            low, high = 0, 400
        np.testing.assert_allclose(plane[mask], np.clip((picture - low) / (high - low), 0, 1), atol=1e-5)


def test_nan_within_what_is_imaged_is_refused(keep) -> None:
    values, inside = brain()
    values = np.where(inside, values, np.nan)
    values[15, 22, 2] = np.nan
    path = keep(nifti_bytes(values))
    with pytest.raises(ImageError, match=r"scan\.nii#002: holds NaN or infinite samples; replace them"):
        read_pixels(f"{path}#002")
    assert read_pixels(f"{path}#001").max() == 1


def test_nan_at_the_border_of_some_slices_only_is_refused(keep) -> None:
    values, inside = brain()
    values[~inside & (np.arange(5) != 2)] = np.nan
    path = keep(nifti_bytes(values))
    with pytest.raises(ImageError, match=r"holds NaN or infinite samples; replace them"):
        read_pixels(f"{path}#001")


@given(arrays(np.bool_, st.tuples(st.integers(2, 9), st.integers(2, 9))))
def test_what_hangs_together_with_the_border_is_found(nan: np.ndarray) -> None:
    reached = np.zeros_like(nan)
    border = [(i, j) for i, j in np.ndindex(nan.shape) if i in (0, nan.shape[0] - 1) or j in (0, nan.shape[1] - 1)]
    waiting = [place for place in border if nan[place]]
    while waiting:
        i, j = waiting.pop()
        if 0 <= i < nan.shape[0] and 0 <= j < nan.shape[1] and nan[i, j] and not reached[i, j]:
            reached[i, j] = True
            waiting += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
    np.testing.assert_array_equal(nifti._at_border(nan), reached)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sform_code": 1, "srow_z": 0}, "its affine is singular"),
        ({"sform_code": 1, "srow_x": np.nan}, "its affine is singular"),
        ({"datatype": 32}, "holds samples of type complex64"),
        ({"datatype": 4321}, "damaged or truncated NIfTI"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "holds .* over the limit of"),
        ({"dim": [3, 20, 24, 90, 1, 1, 1, 1]}, "damaged or truncated NIfTI"),
        ({"dim": [3, 20, 24, -9, 1, 1, 1, 1]}, "holds samples of type uint8 in a shape of|damaged"),
        ({"dim": [3, 20, 24, 0, 1, 1, 1, 1]}, "holds samples of type uint8 in a shape of|damaged"),
        ({"dim": [9, 20, 24, 9, 1, 1, 1, 1]}, "states no possible number of dimensions"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_headers_are_refused_in_one_line(keep, change: dict[str, Any], said: str, packed: bool) -> None:
    data = bytearray(nifti_bytes(VOLUME))
    header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
    for field, value in change.items():
        header[field] = value
    data[:348] = header.binaryblock
    path = keep(gzip.compress(bytes(data)) if packed else bytes(data), "scan.nii.gz" if packed else "scan.nii")
    with pytest.raises(ImageError, match=rf"scan\.nii(\.gz)?(#000)?: {said}.*; .+") as error:
        read_pixels(f"{path}#000")
    assert str(error.value).isprintable()


def with_header(data: bytes, kind: type[Any] = nibabel.Nifti1Header, **fields: Any) -> bytes:
    """Write fields of a header over, whether they can be right or not."""
    size = kind().binaryblock.__len__()
    header = kind(data[:size], check=False)
    for field, value in fields.items():
        header[field] = value
    return header.binaryblock + data[size:]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"pixdim": [1, 1, 1, -4, 0, 0, 0, 0]},
        {"pixdim": [-1, -1, -1, -4, 0, 0, 0, 0]},
        {"pixdim": [0, 0, 0, 0, 0, 0, 0, 0], "sform_code": 0, "qform_code": 0},
        {"pixdim": [1, 1, 0, 1, 0, 0, 0, 0], "sform_code": 0},
        {"pixdim": [1, 1, 1, -4, 0, 0, 0, 0], "sform_code": 0, "qform_code": 1},
        {"pixdim": [3, 1, 1, 4, 0, 0, 0, 0], "sform_code": 0, "qform_code": 1},
        {"sform_code": 0, "qform_code": 2},
        {"sform_code": 77, "qform_code": 1},
        {"scl_slope": 0, "scl_inter": 5},
        {"scl_slope": np.nan, "scl_inter": np.nan},
        {"intent_code": 1007},
        {"intent_code": 3, "bitpix": 16},
    ],
    ids=str,
)
def test_headers_are_mended_as_nibabel_mends_them(keep, fields: dict[str, Any], packed: bool, kind: type[Any]) -> None:
    volume = np.ascontiguousarray(VOLUME)
    image = kind(volume, affine("LPS", (1, 1, 4)))
    image.set_qform(image.affine, code=1)
    data = with_header(image.to_bytes(), kind.header_class, **fields)
    path = keep(gzip.compress(data) if packed else data, "scan.nii.gz" if packed else "scan.nii")
    with decoders_silenced():
        loaded = nibabel.load(path)
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(loaded.affine), nibabel.orientations.axcodes2ornt("LPI")
        )
        seen = nibabel.apply_orientation(np.asarray(loaded.dataobj), turn)
    np.testing.assert_allclose(slices(path), seen.transpose(2, 1, 0) / 255, atol=1e-6)


def test_big_endian_headers_are_read(keep) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_shape(VOLUME.shape)
    header.set_data_dtype(np.uint16)
    header.set_sform(LPS, 1)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    data = header.binaryblock + bytes(4) + (VOLUME.astype(">u2") * 257).tobytes("F")
    np.testing.assert_array_equal(slices(keep(data)), EXPECTED.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "offset"),
    [
        *((nibabel.Nifti1Image, offset) for offset in (0, 348, 351)),
        (nibabel.Nifti2Image, 0),
        (nibabel.Nifti2Image, 352),
    ],
)
def test_samples_that_begin_in_the_header_are_refused(keep, kind: type[Any], offset: int) -> None:
    data = with_header(nifti_bytes(VOLUME, kind=kind), kind.header_class, vox_offset=offset)
    for path in (keep(data), keep(gzip.compress(data), "scan.nii.gz")):
        with pytest.raises(
            ImageError, match=rf"states that its samples begin at byte {offset}, before its header ends"
        ):
            read_pixels(f"{path}#000")


def test_a_pair_is_called_one(keep) -> None:
    pair = nibabel.Nifti1Pair(VOLUME, LPS)
    path = keep(pair.header.binaryblock, "scan.hdr")
    with pytest.raises(ImageError, match=r"scan\.hdr: is the header of a NIfTI pair .*; save one file, \.nii"):
        read_pixels(path)


@pytest.mark.parametrize("place", [-8, -3])
def test_a_wrong_checksum_is_damage(keep, place: int) -> None:
    data = bytearray(nifti_bytes(VOLUME, packed=True))
    data[place] ^= 0xFF
    with pytest.raises(ImageError, match=r"damaged or truncated NIfTI image \(BadGzipFile\)"):
        read_pixels(f"{keep(bytes(data), 'scan.nii.gz')}#000")
    with pytest.raises(ImageError, match="damaged or truncated NIfTI"):
        read_pixels(f"{keep(bytes(data[:-8]), 'cut.nii.gz')}#000")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_volumes_are_refused(keep, share: float) -> None:
    for name, data in (("a.nii", nifti_bytes(VOLUME)), ("b.nii.gz", nifti_bytes(VOLUME, packed=True))):
        path = keep(data[: int(len(data) * share)], name)
        for _ in range(2):
            with pytest.raises(ImageError, match="damaged or truncated NIfTI"):
                read_pixels(f"{path}#000")


def test_other_packed_files_are_refused(keep) -> None:
    with pytest.raises(ImageError, match="is packed, but holds no NIfTI volume in one piece; give"):
        read_pixels(keep(gzip.compress(b"text" * 1000), "notes.gz"))


def test_a_missing_library_is_named_with_its_extra(keep, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(nifti_bytes(VOLUME), "other.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImageError, match=r"reading NIfTI needs a further library; run `pip install 'msde\[nifti\]'`$"):
        read_pixels(path)


@pytest.mark.parametrize("name", ["anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "functional.nii"])
def test_files_that_nibabel_ships_equal_its_own_reading(name: str) -> None:
    path = Path(nibabel.__file__).parent / "tests/data" / name
    if not path.exists():
        pytest.skip("nibabel is installed without its test files")
    image = nibabel.as_closest_canonical(nibabel.load(path))
    values = np.asarray(image.dataobj).reshape(*image.shape[:3], -1)[..., 0]
    steps = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    axial = np.sort(steps)[2] < 1.2 * np.sort(steps)[1] or np.argmax(steps) == 2
    assert axial
    plane = values[..., -1].T[::-1, ::-1]  # the topmost, from front to back and from right to left
    low, high = np.percentile(plane, [0.5, 99.5], method="nearest")
    expected = np.clip((plane - low) / (high - low), 0, 1)
    np.testing.assert_allclose(read_pixels(f"{path}#000", ImageRule("percentile")), expected, atol=1e-5)
