from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from msde.errors import ImageError
from msde.images import Part, find_images, read_pixels

from .medical import ct_slice, dicom_dataset, saved
from .pictures import gray_ramp

SERIES = "1.2.3"


def picture(number: int, side: int = 32) -> np.ndarray:
    return np.roll(gray_ramp(), number, axis=0)[:side, :side]


def sliced(number: int, depth: float | None = None, **elements: Any) -> bytes:
    uid = elements.pop("SOPInstanceUID", generate_uid(entropy_srcs=[str(number), str(depth), str(elements)]))
    series = str(elements.pop("series", SERIES))
    pixels = picture(number, int(elements.pop("side", 32)))
    return ct_slice(pixels, float(-number if depth is None else depth), series, number, SOPInstanceUID=uid, **elements)


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def stack(folder: Path, n: int = 6, **elements: Any) -> Path:
    return put(folder, **{f"IM{k}": sliced(k, **elements) for k in range(n)})


def volumes(folder: Path, lines: list[str] | None = None) -> dict[str, list[str]]:
    """List the volumes below a folder with the names of their files; single images by themselves."""
    found: dict[str, list[str]] = {}
    for source in find_images([folder], None if lines is None else lines.append):
        volume, path = (source.volume, source.path) if isinstance(source, Part) else ("", str(source))
        found.setdefault(str(Path(volume).relative_to(folder)) if volume else "", []).append(
            str(Path(path).relative_to(folder))
        )
    return found


@pytest.mark.parametrize("noise", [2e-6, 1e-4, 1e-3])
@pytest.mark.parametrize("cosine", [0.705, 0.015, 1.0])
def test_cosines_that_differ_by_rounding_are_one_plane(tmp_path: Path, cosine: float, noise: float) -> None:
    rng = np.random.default_rng(int(1e6 * noise))
    sine = np.sqrt(1 - cosine**2)
    for k in range(6):
        turned = np.clip(np.array([cosine, sine, 0, -sine, cosine, 0]) + rng.uniform(-noise, noise, 6), -1, 1)
        position = np.array([-250, 130, -2.0 * k]) + rng.uniform(-1e-4, 1e-4, 3)
        texts = [f"{value:.8f}" for value in position], [f"{value:.8f}" for value in turned]
        put(tmp_path, **{f"IM{k}": sliced(k, ImagePositionPatient=texts[0], turned=texts[1])})
    assert volumes(tmp_path) == {".": [f"IM{k}" for k in range(6)]}


def test_planes_a_degree_apart_are_not_parallel(tmp_path: Path) -> None:
    for k in range(3):
        angle = np.radians(k)
        turned = [f"{value:.8f}" for value in (np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0)]
        put(tmp_path, **{f"IM{k}": sliced(k, turned=turned)})
    assert volumes(tmp_path) == {"": ["IM0", "IM1", "IM2"]}


def test_one_instance_counts_once(tmp_path: Path) -> None:
    stack(tmp_path)
    for name, original in (("IM2 (1)", "IM2"), ("IM3 - Copy", "IM3")):
        put(tmp_path, **{name: (tmp_path / original).read_bytes()})
    put(tmp_path / "A", IM4=(tmp_path / "IM4").read_bytes())
    put(tmp_path / "B", IM0=(tmp_path / "IM0").read_bytes(), IM1=(tmp_path / "IM1").read_bytes())
    lines: list[str] = []
    assert volumes(tmp_path, lines) == {".": [f"IM{k}" for k in range(6)]}
    (line,) = lines
    assert line.startswith("5 copies of slices (same SOP Instance UID) are left out, such as ")


def test_the_same_series_in_two_folders_is_two_volumes(tmp_path: Path) -> None:
    stack(tmp_path / "a")
    stack(tmp_path / "b")
    assert {name: len(files) for name, files in volumes(tmp_path).items()} == {"a": 6, "b": 6}


@pytest.mark.parametrize("uid", ["1.2.3.4", ""])
def test_slices_with_one_uid_or_none_are_no_copies_of_each_other(tmp_path: Path, uid: str) -> None:
    stack(tmp_path, SOPInstanceUID=uid)
    assert len(volumes(tmp_path)["."]) == 6


UNPLACED = [
    {"ImagePositionPatient": None},
    {"turned": None},
    {"ImagePositionPatient": ["1", "2"]},
    {"ImagePositionPatient": ["1", "2", "nan"]},
    {"turned": [0, 0, 0, 0, 0, 0]},
    {"turned": [1, 0, 0, 1, 0, 0]},
]


@pytest.mark.parametrize("elements", UNPLACED, ids=str)
@pytest.mark.filterwarnings("ignore:.*(Invalid value|VR):UserWarning")
def test_a_slice_without_a_place_is_part_of_its_volume_and_says_so(tmp_path: Path, elements: dict[str, Any]) -> None:
    stack(tmp_path)
    put(tmp_path, IM3=sliced(3, **elements))
    assert volumes(tmp_path) == {".": ["IM0", "IM1", "IM2", "IM4", "IM5", "IM3"]}
    *others, lost = find_images([tmp_path])
    with pytest.raises(ImageError, match=r"#IM3: states no place in its series"):
        read_pixels(lost)
    assert all(np.ptp(read_pixels(part)) > 0 for part in others)


def test_a_position_that_is_no_number_is_none(tmp_path: Path) -> None:
    stack(tmp_path)
    content = (tmp_path / "IM3").read_bytes()
    assert content.count(b"0.0\\0.0\\-3.0") == 1
    put(tmp_path, IM3=content.replace(b"0.0\\0.0\\-3.0", b"0.0\\0.0\\left"))
    assert volumes(tmp_path)["."][-1] == "IM3"


def test_what_has_no_place_goes_to_the_plane_that_it_states_or_the_largest(tmp_path: Path) -> None:
    stack(tmp_path)
    put(tmp_path, LOC=sliced(6, 0, turned=[0, 1, 0, 0, 0, -1]), LOST=sliced(7, ImagePositionPatient=None, turned=None))
    put(tmp_path, SIDE=sliced(8, ImagePositionPatient=None, turned=[0, 1, 0, 0, 0, -1]))
    put(tmp_path, OTHER=sliced(9, ImagePositionPatient=None, turned=None, side=16))
    assert volumes(tmp_path) == {
        "series-1": [*(f"IM{k}" for k in range(6)), "LOST"],
        "series-2": ["LOC", "SIDE"],
        "": ["OTHER"],
    }


@pytest.mark.parametrize("content", [b"", b"text", None], ids=["empty", "text", "cut"])
def test_a_file_that_cannot_be_read_is_part_of_the_one_volume_beside_it(tmp_path: Path, content: bytes | None) -> None:
    stack(tmp_path)
    put(tmp_path, **{"IM9.dcm": sliced(9)[:500] if content is None else content})
    assert volumes(tmp_path)["."] == [*(f"IM{k}" for k in range(6)), "IM9.dcm"]
    with pytest.raises(ImageError, match=r"IM9\.dcm"):
        read_pixels(find_images([tmp_path])[-1])
    put(tmp_path, **{f"other{k}": sliced(k, series="4.5.6") for k in range(2)})
    assert volumes(tmp_path)[""] == ["IM9.dcm"]  # of which of the two, nobody can tell


def test_times_follow_each_other_as_in_nifti(tmp_path: Path) -> None:
    for time in range(3):
        for place in range(4):
            number = 3 * place + time + 1  # as many scanners count
            put(tmp_path, **{f"IM{number:02}": sliced(number, -5.0 * place + 1e-4 * time)})
    expected = [f"IM{3 * place + time + 1:02}" for time in range(3) for place in range(4)]
    assert volumes(tmp_path) == {".": expected}


def test_places_of_enhanced_images_stand_with_their_frame(tmp_path: Path) -> None:
    for k in range(3):
        dataset = dicom_dataset(picture(k), SeriesInstanceUID=SERIES, InstanceNumber=k, NumberOfFrames=1)
        position, orientation, frame, shared = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, orientation.ImageOrientationPatient = [0, 0, 10 * k], [1, 0, 0, 0, 1, 0]
        frame.PlanePositionSequence, shared.PlaneOrientationSequence = [position], [orientation]
        dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence = [frame], [shared]
        put(tmp_path, **{f"IM{k}": saved(dataset)})
    assert volumes(tmp_path) == {".": ["IM2", "IM1", "IM0"]}
