"""What arrives is checked before it is kept: zips, sets of files, sizes, names."""

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from itertools import product
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from tests.images.medical import ct_slice, nifti_bytes
from tests.images.overstated import overstated
from tests.images.tiffs import huge_tile
from tests.serve.conftest import png

from msde.serve.intake.image_rows import Sender
from msde.serve.intake.uploads import _modality, clean


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def files_of(served) -> list[str]:
    return [path.name for path in served.service.store.images.rglob("*") if path.is_file()]


def test_a_zip_of_images_is_opened(serve):
    content = zipped({"a/1.png": png(1), "a/2.png": png(2), "a/notes.txt": b"no image", "__MACOSX/._1.png": b"x"})
    with serve() as served:
        answer = served.client.post("/api/images?name=both.zip", content=content).json()
        assert sorted(image["name"] for image in answer["images"]) == ["a/1.png", "a/2.png"]
        assert [refused["name"] for refused in answer["refused"]] == ["a/notes.txt"]
        assert {row["state"] for row in served.wait()} == {"scored"}


def test_names_in_a_zip_are_never_paths(serve, tmp_path):
    content = zipped({"../../../evil.png": png(1), "/etc/evil.png": png(2), "C:\\evil.png": png(3)})
    with serve() as served:
        answer = served.client.post("/api/images", content=content)
        assert len(answer.json()["images"]) == 3
        assert not any("evil" in name for name in files_of(served))
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


@pytest.mark.slow
def test_a_zip_bomb_is_refused_by_what_comes_out_of_it(serve):
    bomb = zipped({"a.png": bytes(50_000_000)})
    assert len(bomb) < 100_000
    with serve(unpacked_bytes=10_000_000) as served:
        assert served.client.post("/api/images", content=bomb).status_code == 413
        assert list(served.service.store.incoming.iterdir()) == []


def test_a_zip_of_too_many_files_is_refused_before_its_list_is_read(serve):
    many = zipped({f"{n}": b"" for n in range(400)})
    with serve(files=10) as served:
        assert served.client.post("/api/images", content=many).status_code == 413
        assert served.client.post("/api/images", content=zipped({f"{n}": b"" for n in range(11)})).status_code == 413


@pytest.mark.parametrize("cut", [60, 200, -30])
def test_a_damaged_zip_is_refused(standing, cut):
    answer = standing.client.post("/api/images", content=zipped({"1.png": png(1)})[:cut])
    assert answer.status_code == 400
    assert "zip is damaged" in answer.json()["detail"]


class Stream(io.RawIOBase):
    """What a zip is written to by those who cannot go back: sizes stand behind the files, in zip64 form."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.content += data
        return len(data)


def streamed(files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Write a zip with data descriptors and zip64 records, whatever its size."""
    out = Stream()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    plain = bytes(out.content)
    end = plain.rfind(b"PK\x05\x06")
    n, size, offset = (int.from_bytes(plain[end + a : end + b], "little") for a, b in ((10, 12), (12, 16), (16, 20)))
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:end] + record + locator + last


def test_a_small_zip64_of_a_streaming_writer_is_opened(serve):
    packings = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)
    with serve(files=2) as served:
        for packing, comment in product(packings, (b"", b"a comment")):
            content = streamed({"1.png": png(1), "2.png": png(2)}, packing)
            assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 2
            commented = content[:-2] + len(comment).to_bytes(2, "little") + comment
            answer = served.client.post("/api/images", content=commented)
            assert answer.status_code == 202, answer.text
            assert [image["name"] for image in answer.json()["images"]] == ["1.png", "2.png"]


def test_a_zip64_that_lists_too_much_is_refused_before_its_list_is_read(serve):
    with serve(files=10) as served:
        many = streamed({f"{n}": b"" for n in range(400)})
        assert served.client.post("/api/images", content=many).status_code == 413
        lying = bytearray(streamed({"1.png": png(1)}))
        start = lying.rfind(b"PK\x06\x06") + 40
        lying[start : start + 8] = (2**40).to_bytes(8, "little")
        assert served.client.post("/api/images", content=bytes(lying)).status_code == 400


def tarred(mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        member = tarfile.TarInfo("1.png")
        member.size = len(png(1))
        archive.addfile(member, io.BytesIO(png(1)))
    return file.getvalue()


NO_IMAGES = [
    (tarred(), "is a tar archive"),
    (tarred("w"), "is a tar archive"),
    (tarred("w:xz"), "is a xz archive"),
    (tarred("w:bz2"), "is a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(400), "is a 7z archive"),
    (b"Rar!\x1a\x07\x01\x00" + bytes(400), "is a rar archive"),
    (gzip.compress(png(1)), "is packed, but holds no NIfTI volume in one piece; give .nii or .nii.gz"),
    (gzip.compress(png(1))[:100], "damaged or truncated NIfTI"),
    (b"n+1", "is no image in a format that is read, nor a zip of such"),
]


def test_what_is_neither_image_nor_zip_is_refused_by_its_kind(serve):
    with serve() as served:
        for content, said in NO_IMAGES:
            answer = served.client.post("/api/images?name=a.gz", content=content)
            assert (answer.status_code, said in answer.json()["detail"]) == (415, True), answer.text
            assert answer.json()["detail"].startswith("a.gz: ")
            if said.endswith("archive"):
                assert served.client.post("/api/score", content=content).status_code == 415
        assert files_of(served) == []


def test_a_packed_volume_is_kept(serve):
    with serve() as served:
        served.send(nifti_bytes(np.tile(np.arange(64, dtype=np.uint8), (64, 1))[..., None], packed=True), "a.nii.gz")
        assert [row["format"] for row in served.wait()] == ["NIfTI"]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename*=UTF-8''M%C3%BCller%3B%20%27%C3%84%27.png", "Müller; 'Ä'.png"),
        ('attachment; filename="a b.png"', "a b.png"),
        ("attachment; filename*=nowhere''%ff.png", "ÿ.png"),
        ("attachment; filename*=undefined''a.png", "upload"),
        ("attachment", "upload"),
        (";;=*''", "upload"),
    ],
)
def test_a_header_names_what_shall_not_stand_in_the_address(standing, header, name):
    answer = standing.client.post("/api/images", content=png(1), headers={"content-disposition": header})
    assert answer.status_code == 202, answer.text
    [kept] = answer.json()["images"]
    assert kept["name"] == name


def test_forms_are_read_whatever_the_case_of_their_type_and_what_stands_before(standing):
    head = b'Content-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: IMAGE/PNG\r\n\r\n'
    parts = b"--xyz\r\n" + head + png(1) + b"\r\n--xyz--\r\nepilogue"
    for kind in ("multipart/form-data", "Multipart/Form-Data"):
        headers = {"content-type": f'{kind}; charset="utf-8"; Boundary="xyz"'}
        for preamble in (b"", b"\r\n", b"This is a message in several parts.\r\n\r\n--almost\r\n"):
            for size in (1, 7, 10**6):
                body = preamble + parts
                blocks = (body[start : start + size] for start in range(0, len(body), size))
                answer = standing.client.post("/api/images", content=blocks, headers=headers)
                assert answer.status_code == 202, answer.text
                assert [image["name"] for image in answer.json()["images"]] == ["a.png"]


@pytest.mark.slow
def test_json_is_read_whatever_the_case_of_its_type(serve):
    with serve() as served:
        token = served.client.headers["authorization"].removeprefix("Bearer ")
        headers = {"content-type": "Application/JSON; Charset=UTF-8"}
        answer = served.client.post("/api/session", content=f'{{"token": "{token}"}}', headers=headers)
        assert answer.status_code == 200


def test_a_zip_in_a_zip_stays_closed(standing):
    answer = standing.client.post("/api/images", content=zipped({"inner.zip": zipped({"1.png": png(1)})})).json()
    assert answer["images"] == []
    assert answer["refused"][0]["name"] == "inner.zip"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_slices_of_a_series_are_one_volume_whether_zipped_or_sent_together(serve, rng, suffix):
    slices = [ct_slice(rng.integers(0, 2000, (64, 64), np.uint16), depth, "1.2.3", depth + 1) for depth in range(4)]
    contents = {f"{number}{suffix}": content for number, content in enumerate(slices)}
    with serve() as served:
        one = served.client.post("/api/images?name=scan.zip", content=zipped(contents)).json()
        assert [image["name"] for image in one["images"]] == ["scan"]
        forms = [("files", (name, content)) for name, content in contents.items()]
        other = served.client.post("/api/images?name=scan", files=forms).json()
        assert other["images"][0]["id"] == one["images"][0]["id"]
        row = served.wait()[0]
        assert (row["kind"], row["n_parts"], row["state"], row["format"]) == ("volume", 4, "scored", "DICOM")
        case = served.get(f"/api/images/{row['id']}")
        assert len(case["top_parts"]) == 4
        assert served.client.get(f"/api/images/{row['id']}/picture?part=3").status_code == 200
        served.get(f"/api/images/{row['id']}/picture?part=4", 404)


@pytest.mark.slow
def test_a_slice_that_cannot_be_placed_leaves_its_volume_without_a_score_and_a_copy_is_told(serve, rng):
    contents = {
        f"{k}.dcm": ct_slice(rng.integers(0, 2000, (64, 64), np.uint16), k, "1.2.3", k, ImagePositionPatient=place)
        for k, place in enumerate([[0, 0, 0], [0, 0, 1], [0, 0, 2], None])
    }
    contents["1 - Copy.dcm"] = contents["1.dcm"]
    with serve() as served:
        answer = served.client.post("/api/images?name=scan.zip", content=zipped(contents)).json()
        assert [image["name"] for image in answer["images"]] == ["scan"]
        (refused,) = answer["refused"]
        assert refused["reason"].endswith("is a copy of another slice; leave it out")
        (row,) = served.wait()
        assert (row["kind"], row["n_parts"], row["state"], row["anomaly_score"]) == ("volume", 4, "failed", None)
        assert "states no place in its series" in row["error"]


def test_a_stack_in_one_file_is_a_volume(serve, rng):
    file = io.BytesIO()
    pages = [Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)) for _ in range(3)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    with serve() as served:
        served.send(file.getvalue(), "stack.tif")
        row = served.wait()[0]
        assert (row["kind"], row["n_parts"], row["format"]) == ("volume", 3, "TIFF")
        assert row["p_value"] is None


def test_a_large_body_is_refused_while_it_comes(serve):
    with serve(upload_bytes=10_000) as served:
        for path in ("/api/images", "/api/score"):
            assert served.client.post(path, content=bytes(10_001)).status_code == 413
        forms = [("files", ("a", bytes(2_000_000)))]
        assert served.client.post("/api/images", files=forms).status_code == 413
        assert served.client.post("/api/session", content=bytes(2_000_000)).status_code == 413
        assert list(served.service.store.incoming.iterdir()) == []


@pytest.mark.slow
def test_an_image_of_too_many_pixels_fails_by_its_header(serve):
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    with serve() as served:
        served.send(file.getvalue())
        assert "over the limit" in served.wait()[0]["error"]


def test_an_empty_body_or_form_is_refused(standing):
    assert standing.client.post("/api/images", content=b"").status_code == 400
    assert standing.client.post("/api/images", files=[("files", ("a", b""))]).json()["images"] == []
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert standing.client.post("/api/images", content=b"--y", headers=broken).status_code == 400


@pytest.mark.slow
def test_ingest_takes_bytes_files_and_folders(serve, normals):
    with serve() as served:
        ingest = served.service.reception.ingest
        assert ingest(png(1), "a", Sender("dimse:TITLE")).images[0].known is False
        assert ingest(normals / "000.png", "b", Sender("poll:x")).images[0].name == "b"
        assert (normals / "000.png").exists()
        assert len(ingest(normals, "all", Sender("poll:x")).images) == 40
        assert {row["origin"] for row in served.wait()} == {"dimse:TITLE", "poll:x"}


def test_what_a_header_states_is_quoted_nowhere(recwarn, tmp_path):
    data = dcmread(io.BytesIO(ct_slice(np.zeros((8, 8), np.uint16), 0, "1.2.3", 1)))
    with warnings.catch_warnings(action="ignore"):
        data.SpecificCharacterSet = "Doe^Jane"
        data.save_as(tmp_path / "a.dcm")
    assert _modality(tmp_path / "a.dcm") == "OT"
    assert not recwarn.list


@pytest.mark.slow
def test_interrupted_uploads_are_swept_at_the_next_start(serve):
    with serve() as served:
        served.send(png(1))
        served.wait()
        store = served.service.store
        (store.incoming / "left").write_bytes(b"half")
        (store.images / "ab").mkdir(exist_ok=True)
        (store.images / "ab" / ("ab" * 32 + ".png")).write_bytes(b"no row")
        (store.images / "ab" / ("ab" * 32 + ".series")).mkdir()
        unnamed = served.service.settings.folder / "models" / "left.part"
        unnamed.write_bytes(b"half")
    with serve() as served:
        assert not unnamed.exists()
        assert len(files_of(served)) == 1
        assert list(served.service.store.incoming.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\ud800", "x" * 5000, "", "‮gnp.exe"])
def test_a_name_is_made_one_that_can_be_stored_and_shown(name):
    made = clean(name)
    assert made.isprintable()
    assert 0 < len(made.encode()) <= 1600


@pytest.mark.slow
def test_what_states_more_than_it_can_hold_is_refused_before_any_work(serve):
    with serve() as served:
        for name, content in overstated().items():
            answer = served.client.post("/api/images", params={"name": name}, content=content)
            assert (answer.status_code, answer.json()["detail"].startswith(f"{name}: ")) == (415, True), answer.text
            told = served.client.post("/api/score", params={"name": name}, content=content).json()
            assert (told["anomaly_score"], told["n_parts"]) == (None, 1)
            assert told["error"].startswith(f"{name}: ")
        assert files_of(served) == []
        assert served.get("/api/images")["total"] == 0


def test_a_tile_as_large_as_no_picture_is_a_line_about_the_image(serve):
    with serve() as served:
        told = served.client.post("/api/score", params={"name": "a.tif"}, content=huge_tile()).json()
        assert told["error"].startswith("a.tif: ")
        served.send(huge_tile(), "a.tif")
        (row,) = served.wait()
        assert (row["state"], row["error"].startswith("a.tif: ")) == ("failed", True)


def test_images_and_series_of_a_zip_keep_the_names_of_their_folders(standing):
    slices = {
        f"{folder}/{number}.dcm": ct_slice(np.full((64, 64), number, np.uint16), float(number), series, number)
        for folder, series in (("anna/T1", "1.2.1"), ("ben/T1", "1.2.2"), ("ben/T1", "1.2.3"))
        for number in (int(series[-1]) * 10, int(series[-1]) * 10 + 1)
    }
    answer = standing.client.post("/api/images?name=all.zip", content=zipped({"anna/p.png": png(77), **slices})).json()
    expected = ["anna/p.png", "anna/T1", "ben/T1, series 1", "ben/T1, series 2"]
    assert [image["name"] for image in answer["images"]] == expected
    assert answer["refused"] == []
