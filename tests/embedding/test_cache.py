import hashlib
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from msde.embedding.cache import MAGIC, EmbeddingCache

DAY = 86_400
BLOCK = 4096
KEYS = st.binary(min_size=32, max_size=32)
VALUES = st_numpy.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


def key(number, first=None):
    digest = hashlib.sha256(str(number).encode()).digest()
    return digest if first is None else bytes([first]) + digest[1:]


def values(number, dim=496):
    return np.random.default_rng(number).normal(size=dim).astype(np.float32)


def refuse(line):
    raise AssertionError(line)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache", warn=refuse)


def files(cache):
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


@given(KEYS, VALUES)
def test_what_is_put_is_got_bit_for_bit(tmp_path_factory, key, values):
    folder = tmp_path_factory.getbasetemp() / "round_trip"
    EmbeddingCache(folder, warn=refuse).put(key, values)
    got = EmbeddingCache(folder, warn=refuse).get(key, len(values))
    assert got.tobytes() == values.tobytes()
    assert got.dtype == np.float32
    assert got.flags.writeable
    assert EmbeddingCache(folder, warn=refuse).get(key, len(values) + 1) is None


@given(st.data())
def test_a_damaged_embedding_is_missing_and_is_written_anew(tmp_path_factory, data):
    cache = EmbeddingCache(tmp_path_factory.mktemp("damaged"), warn=refuse)
    cache.put(key(1), values(1, 8))
    (file,) = files(cache)
    content = file.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(data.draw(st.sampled_from([bytes(flipped), content[:place], content + b"\0"])))
    assert cache.get(key(1), 8) is None
    cache.put(key(1), values(1, 8))
    np.testing.assert_array_equal(cache.get(key(1), 8), values(1, 8))
    assert files(cache) == [file]


def test_an_embedding_under_the_key_of_another_is_missing(cache):
    cache.put(key(1), values(1))
    (file,) = files(cache)
    other = cache.folder / key(2).hex()[:2] / f"{key(2).hex()}.embedding"
    other.parent.mkdir()
    file.rename(other)
    assert cache.get(key(2), 496) is None


def test_a_file_holds_head_and_values_and_nothing_else(cache):
    cache.put(key(1), values(1))
    (file,) = files(cache)
    assert file.name == f"{key(1).hex()}.embedding"
    checksum = hashlib.sha256(key(1) + values(1).tobytes()).digest()
    assert file.read_bytes() == MAGIC + checksum + values(1).tobytes()


def test_nothing_is_made_before_something_is_kept(cache):
    assert cache.get(key(1), 496) is None
    assert not cache.folder.exists()


# Two runs of this write the same embeddings, in opposite order, in a folder that is too small for them, and read along.
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.embedding.test_cache import EmbeddingCache, key, refuse, values
cache = EmbeddingCache(sys.argv[2], int(sys.argv[3]), refuse)
print("ready", flush=True)
sys.stdin.readline()
numbers = list(range(500))[:: int(sys.argv[4])]
for number in numbers:
    cache.put(key(number), values(number))
    for other in (number, 499 - number, number // 2):
        got = cache.get(key(other), 496)
        assert got is None or got.tobytes() == values(other).tobytes(), other
"""


@pytest.mark.parametrize("limit", [pytest.param(5_000_000_000, marks=pytest.mark.slow), 1_500_000])
def test_processes_share_a_folder(cache, pytestconfig, limit):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, pytestconfig.rootpath, cache.folder, str(limit), step],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for step in ("1", "-1")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    kept = [number for number in range(500) if cache.get(key(number), 496) is not None]
    assert len(files(cache)) == len(kept)
    if limit == 5_000_000_000:
        assert len(kept) == 500
    else:
        assert 0 < len(kept) * BLOCK <= limit


# Says so and waits when an embedding is written, but does not have its name yet.
HALTED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.embedding.test_cache import EmbeddingCache, key, refuse, values
def halt(*_):
    print("written", flush=True)
    time.sleep(600)
cache = EmbeddingCache(sys.argv[2], warn=refuse)
cache.put(key(0), values(0))
Path.replace = halt
cache.put(key(1), values(1))
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_sound_cache(cache, pytestconfig):
    command = [sys.executable, "-c", HALTED, pytestconfig.rootpath, cache.folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert [path.suffix for path in files(cache)].count(".part") == 1
    np.testing.assert_array_equal(cache.get(key(0), 496), values(0))
    assert cache.get(key(1), 496) is None
    cache.put(key(1), values(1))
    np.testing.assert_array_equal(cache.get(key(1), 496), values(1))


@pytest.mark.slow
def test_writers_that_are_killed_at_any_time_leave_a_sound_cache(cache, pytestconfig):
    command = [sys.executable, "-c", WRITER, pytestconfig.rootpath, cache.folder, "5000000000", "1"]
    for wait in (0.0, 0.01, 0.05):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            writer.stdin.write("go\n")
            writer.stdin.flush()
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
    for number in range(500):
        got = cache.get(key(number), 496)
        assert got is None or got.tobytes() == values(number).tobytes()
        cache.put(key(number), values(number))
        np.testing.assert_array_equal(cache.get(key(number), 496), values(number))


def share_of(n):
    """Give the limit at which a folder may hold n embeddings."""
    return n * BLOCK * 256


def put_long_ago(cache, number, days, first=7):
    cache.put(key(number, first), values(number))
    last_use = time.time() - days * DAY
    os.utime(cache.folder / f"{first:02x}" / f"{key(number, first).hex()}.embedding", (last_use, last_use))


def test_the_least_recently_used_go_first(tmp_path):
    cache = EmbeddingCache(tmp_path, share_of(8), refuse)
    for number in range(8):
        put_long_ago(cache, number, days=30 - number)
    assert cache.get(key(1, 7), 496) is not None
    cache.put(key(8, 7), values(8))
    kept = [number for number in range(9) if cache.get(key(number, 7), 496) is not None]
    assert kept == [1, 3, 4, 5, 6, 7, 8]


def test_reading_renews_the_time_of_use_once_a_day(cache):
    put_long_ago(cache, 1, days=0.5)
    (file,) = files(cache)
    for days, renewed in ((0.5, False), (1.5, True)):
        os.utime(file, (time.time() - days * DAY,) * 2)
        before = file.stat().st_mtime_ns
        assert cache.get(key(1, 7), 496) is not None
        assert (file.stat().st_mtime_ns != before) is renewed


def test_the_folder_keeps_to_its_limit(tmp_path):
    limit = 1_200_000
    cache = EmbeddingCache(tmp_path, limit, refuse)
    for number in range(600):
        cache.put(key(number), values(number))
    assert 0.4 * limit < len(files(cache)) * BLOCK <= limit


def test_a_large_folder_is_not_listed_at_every_write(tmp_path, monkeypatch):
    listings = []
    scandir = os.scandir

    def counted(folder):
        listings.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    cache = EmbeddingCache(tmp_path, share_of(320), refuse)
    for number in range(1000):
        cache.put(key(number, 7), values(number))
    assert 20 < len(listings) < 100
    monkeypatch.undo()
    assert 280 <= len(files(cache)) < 400


def test_only_files_of_the_cache_are_removed(tmp_path):
    cache = EmbeddingCache(tmp_path, share_of(2), refuse)
    (tmp_path / "07").mkdir()
    ours = f"{key(0, 7).hex()}.{'0' * 16}.part"
    long_ago = time.time() - 300 * DAY
    for name in ("scan.png", "notes.embedding", f"{key(0, 7).hex()}.png", ours):
        (tmp_path / "07" / name).write_bytes(b"x" * 5000)
        os.utime(tmp_path / "07" / name, (long_ago, long_ago))
    fresh = tmp_path / "07" / ours.replace("0" * 16, "1" * 16)
    fresh.write_bytes(b"x")
    os.utime(fresh, (time.time() - 60,) * 2)
    for number in range(5):
        cache.put(key(number, 7), values(number))
    left = {path.name for path in files(cache)}
    assert {"scan.png", "notes.embedding", f"{key(0, 7).hex()}.png", fresh.name} <= left
    assert ours not in left  # left by a process that was killed


def test_a_file_in_place_of_the_folder_is_one_warning(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    warnings: list[str] = []
    cache = EmbeddingCache(tmp_path / "file", warn=warnings.append)
    for number in range(3):
        assert cache.get(key(number), 496) is None
        cache.put(key(number), values(number))
    (line,) = warnings
    assert str(tmp_path / "file") in line
    assert "\n" not in line


def test_a_full_disk_is_one_warning_and_what_is_kept_stays_readable(tmp_path):
    warnings: list[str] = []
    cache = EmbeddingCache(tmp_path, warn=warnings.append)
    cache.put(key(0), values(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # less than an embedding takes
    try:
        for number in (1, 2):
            cache.put(key(number), values(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = warnings
    assert f"{tmp_path}: the cache cannot be written (File too large)" in line
    assert len(files(cache)) == 1
    np.testing.assert_array_equal(cache.get(key(0), 496), values(0))


def test_by_default_the_warning_is_pythons(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(UserWarning, match="the cache cannot be written"):
        EmbeddingCache(tmp_path / "file").put(key(1), values(1))
