import pytest

from msde.cluster.storage import PartsFolder, fetch, retry
from msde.errors import OutputError


def test_a_call_that_fails_for_a_moment_is_made_again():
    failures = [TimeoutError(), OSError("reset")]

    def read():
        if failures:
            raise failures.pop()
        return "content"

    assert retry(read) == "content"


def test_what_is_missing_is_asked_for_once():
    calls = []

    def read():
        calls.append(1)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        retry(read)
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("place", ["disk", "s3"])
def test_a_folder_lists_what_is_whole(tmp_path, server, environment, place):
    url = str(tmp_path / "job") if place == "disk" else "s3://folder/job"
    if place == "s3":
        import s3fs

        s3fs.S3FileSystem().mkdir("folder")
    storage = PartsFolder(url)
    assert storage.names("parts") == []
    storage.write("parts/1", b"old")
    storage.write("parts/1", b"one")
    storage.write("parts/0", b"")
    if place == "disk":
        (tmp_path / "job" / "parts" / ".2.part").write_bytes(b"half")
    assert storage.names("parts") == ["0", "1"]
    assert storage.read("parts/1") == b"one"
    storage.remove("parts/1")
    storage.remove("parts/1")
    assert not storage.exists("parts/1")
    with pytest.raises(FileNotFoundError):
        storage.read("parts/1")
    if place == "s3":
        fetch("s3://folder/job/parts/0", tmp_path / "new" / "0")
        assert (tmp_path / "new" / "0").read_bytes() == b""


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/_job.json"):
        PartsFolder(str(tmp_path / "file")).write("_job.json", b"{}")
