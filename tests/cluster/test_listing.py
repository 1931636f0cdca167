import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from tests.images.medical import ct_slice

from msde.cluster.listing import cut, from_json, identity, sources, to_json
from msde.errors import DataError
from msde.images import Part, find_images

any_source = st.text(min_size=1) | st.builds(
    Part, st.sampled_from("vw"), st.text(), st.none() | st.text(), st.none() | st.text()
)


@given(st.lists(any_source, max_size=40), st.integers(1, 9))
def test_parts_hold_each_image_once_in_order_and_whole_volumes(listed, rows):
    parts = list(cut(listed, rows))
    assert [source for part in parts for source in part] == listed
    assert all(len(part) >= rows for part in parts[:-1])
    for one, other in itertools.pairwise(parts):
        last, first = one[-1], other[0]
        assert not (isinstance(last, Part) and isinstance(first, Part) and last.volume == first.volume)


@given(st.lists(any_source))
def test_sources_survive_json(listed):
    assert from_json(to_json(listed)) == listed


def test_manifests_list_paths_beside_them_and_addresses_as_they_are(tmp_path):
    import pyarrow

    names = ["a.png", "/b/c.png", "s3://bucket/d.png"]
    (tmp_path / "m.csv").write_text("\ufefflabel,path\n" + "".join(f"0,{name}\n" for name in names))
    parquet.write_table(pyarrow.table({"uri": names}), tmp_path / "m.parquet")
    expected = [str(tmp_path / "a.png"), "/b/c.png", "s3://bucket/d.png"]
    assert list(sources([str(tmp_path / "m.csv")])) == expected
    assert list(sources([f"file://{tmp_path}/m.parquet"])) == expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("m.csv", "file\na.png\n", "no column path or uri but file"), ("m.csv", "path\n", "lists no image"), ("", "", "")],
)
def test_a_manifest_that_lists_nothing_is_refused_by_name(tmp_path, name, content, reason):
    path = tmp_path / (name or "missing.parquet")
    if name:
        path.write_text(content)
    with pytest.raises(DataError, match=f"{path.name}.*{reason}"):
        list(sources([str(path)]))


def test_a_manifest_is_known_by_its_content(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path\na.png\n")
    before = identity(str(path))
    path.write_text("path\nb.png\n")
    assert identity(str(path)) != before
    assert identity(str(tmp_path)) == str(tmp_path)


def test_overlapping_inputs_list_each_image_once_and_files_of_a_series_are_a_volume(tmp_path):
    (tmp_path / "sub").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "sub" / "a.png")
    assert list(sources([str(tmp_path), str(tmp_path / "sub")])) == [str(tmp_path / "sub" / "a.png")]
    (tmp_path / "series").mkdir()
    slices = [tmp_path / "series" / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(slices):
        path.write_bytes(ct_slice(np.full((16, 16), number, np.int16), number, "1.2.3", number + 1))
    assert list(sources([str(one) for one in slices])) == find_images([tmp_path / "series"])
