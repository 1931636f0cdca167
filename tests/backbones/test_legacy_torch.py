"""The reader of legacy PyTorch files, on the real file, on files written here byte by byte, and on attacks."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.requirements import need

from msde.backbones.legacy_torch import MAX_HEADER_BYTES, RefusedError, parse, read_torch_file
from msde.errors import WeightsFileError

HEAD = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
START, STOP = b"\x80\x02", b"."
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
KINDS = {"<f4": b"Float", "<f8": b"Double", "<i8": b"Long", "<f2": b"Half", "|u1": b"Byte"}


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str, length: int, kind: bytes = b"Float") -> bytes:
    return (
        b"(" + text("storage") + b"ctorch\n" + kind + b"Storage\n" + text(key) + text("cpu") + number(length) + b"NtQ"
    )


def tensor(reference: bytes, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    arguments = reference + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + ORDERED_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def legacy_file(state: dict[str, bytes], storages: dict[str, np.ndarray]) -> bytes:
    """Assemble a file of named tensors, each given in opcodes, as torch would write it."""
    entries = b"".join(text(name) + opcodes for name, opcodes in state.items())
    pickled = START + ORDERED_DICT + b"q\x00(" + entries + b"u}" + text("_metadata") + ORDERED_DICT + b"sb" + STOP
    raw = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return HEAD + pickled + pickle.dumps(list(storages), 2) + raw


def write(arrays: dict[str, np.ndarray]) -> bytes:
    """Assemble a file of C-ordered arrays."""
    state, storages = {}, {}
    for i, (name, values) in enumerate(arrays.items()):
        strides = tuple(n // values.itemsize for n in values.strides)
        state[name] = tensor(storage(str(i), values.size, KINDS[values.dtype.str]), values.shape, strides)
        storages[str(i)] = values
    return legacy_file(state, storages)


ARRAYS = {
    "stem.weight": np.arange(12, dtype="<f4").reshape(2, 3, 2),
    "stem.bias": np.array([0.5, -0.5], "<f2"),
    "count": np.array(7, "<i8"),
}
SMALL = write(ARRAYS)
HEADER = len(SMALL) - sum(8 + values.nbytes for values in ARRAYS.values())


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
        assert found[name].flags.c_contiguous
        assert found[name].flags.aligned


def test_reads_names_shapes_types_and_values() -> None:
    assert_same(parse(SMALL), ARRAYS)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.tuples(st.sampled_from(sorted(KINDS)), st.lists(st.integers(1, 4), max_size=4)),
        max_size=5,
    )
)
def test_reads_any_dictionary_of_arrays(layout: dict[str, tuple[str, list[int]]]) -> None:
    arrays = {
        name: np.arange(np.prod(shape, dtype=int)).astype(kind).reshape(shape) for name, (kind, shape) in layout.items()
    }
    assert_same(parse(write(arrays)), arrays)


def test_reads_strided_offset_and_shared_storage() -> None:
    raw = np.arange(10, dtype="<f4")
    state = {"turned": tensor(storage("s", 10), (3, 2), (1, 3), 2), "tail": tensor(storage("s", 10), (2,), (1,), 8)}
    assert_same(parse(legacy_file(state, {"s": raw})), {"turned": raw[2:8].reshape(2, 3).T, "tail": raw[8:]})


def test_reads_the_package(lite0_file: Path) -> None:
    tensors = read_torch_file(lite0_file)
    assert len(tensors) == 296
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(np.isfinite(values).all() for values in tensors.values())
    assert min(values.min() for name, values in tensors.items() if name.endswith("running_var")) >= 0


@pytest.mark.torch
def test_agrees_with_torch_on_the_package(lite0_file: Path) -> None:
    need("torch")
    import torch

    expected = torch.load(lite0_file, weights_only=True)
    assert_same(read_torch_file(lite0_file), {name: values.contiguous().numpy() for name, values in expected.items()})


@pytest.mark.torch
def test_agrees_with_torch_on_a_file_it_wrote(tmp_path: Path) -> None:
    need("torch")
    import torch

    base = torch.arange(24.0).reshape(2, 3, 4)
    state = {"turned": base.permute(2, 0, 1), "part": base[1, 1:], "half": base.half(), "one": torch.tensor(3)}
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    expected = {name: values.contiguous().numpy() for name, values in state.items()}
    assert_same(read_torch_file(tmp_path / "net.pth"), expected)


# --- networks saved whole --------------------------------------------------------------------------------------------

LAYERS = {"net.Block", "net.Conv"}


def layer(kind: str, attributes: dict[str, bytes]) -> bytes:
    """Opcodes of an object, which the file has with its source, as torch wrote it."""
    name = b"cnet\n" + kind.encode() + b"\n"
    found = b"(" + text("module") + name + text("net.py") + text(f"class {kind}: pass") + b"tQ"
    return found + b")\x81}(" + b"".join(text(key) + value for key, value in attributes.items()) + b"ub"


def group(members: dict[str, bytes]) -> bytes:
    return ORDERED_DICT + b"(" + b"".join(text(key) + value for key, value in members.items()) + b"u"


def network_file(opcodes: bytes, storages: dict[str, np.ndarray]) -> bytes:
    raw = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return HEAD + START + opcodes + STOP + pickle.dumps(list(storages), 2) + raw


WEIGHT = tensor(storage("s", 4), (2, 2), (2, 1))
PARAMETER = b"ctorch._utils\n_rebuild_parameter\n(" + WEIGHT + b"\x88" + ORDERED_DICT + b"tR"
EPS = b"G" + struct.pack(">d", 1e-5)
CONV = layer("Conv", {"training": b"\x89", "eps": EPS, "_parameters": group({"weight": PARAMETER, "bias": b"N"}),
                      "_unused": b"c__builtin__\nset\n]\x85R"})  # fmt: skip
NETWORK = layer("Block", {"_modules": group({"conv": CONV}), "_buffers": group({"count": WEIGHT})})
VALUES = np.arange(4, dtype="<f4")


def test_reads_the_tensors_of_a_whole_network() -> None:
    found = parse(network_file(NETWORK, {"s": VALUES}), LAYERS)
    assert_same(dict(sorted(found.items())), {"conv.weight": VALUES.reshape(2, 2), "count": VALUES.reshape(2, 2)})


def test_whole_network_is_refused_where_no_layers_are_named() -> None:
    for layers in ((), {"net.Block"}, {"other.Conv", "other.Block"}):
        with pytest.raises(RefusedError, match="refused"):
            parse(network_file(NETWORK, {"s": VALUES}), layers)


def in_place(depth: int) -> bytes:
    """A chain of layers with long names."""
    opcodes = CONV
    for _ in range(depth):
        opcodes = layer("Block", {"_modules": group({"block": opcodes})})
    return opcodes


TWICE = b"ccollections\nOrderedDict\n)R(" + text("a") + CONV + b"q\x07" + text("b") + b"h\x07u"
ITSELF = b"cnet\nBlock\n)\x81q\x07}(" + text("_modules") + group({"a": b"h\x07"}) + b"ub"


@pytest.mark.parametrize(
    ("opcodes", "reason"),
    [
        (layer("Block", {"_modules": TWICE}), "in two places"),
        (ITSELF, "in two places"),
        (in_place(100), "names of its layers are too long"),
        (layer("Block", {"_modules": b"]"}), "malformed"),
        (layer("Block", {"_modules": group({"a": text("a")})}), "not a dictionary of tensors"),
        (layer("Other", {}), "asks for 'net Other'"),
        (b"cnet\nBlock\n(K\x01t\x81}b", "makes something which is no layer"),
        (b"ccollections\nOrderedDict\n)\x81}b", "makes something which is no layer"),
        (b"cnet\nBlock\n)R", "does not rebuild a tensor"),
        (b"cnet\nBlock\n)\x81]b", "malformed"),
        (b"cos\nsystem\n)\x81}b", "asks for 'os system'"),
    ],
)
def test_odd_networks_are_refused(opcodes: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse(network_file(opcodes, {"s": VALUES}), LAYERS)


@pytest.mark.slow
def test_every_change_of_a_whole_network_is_read_or_refused() -> None:
    whole = network_file(NETWORK, {"s": VALUES})
    for position in range(len(HEAD), len(whole)):
        for code in range(0, 256, 29):
            read_or_refuse(whole[:position] + bytes([code]) + whole[position + 1 :], LAYERS)


# --- damage ----------------------------------------------------------------------------------------------------------


def read_or_refuse(data: bytes, layers: Collection[str] = ()) -> None:
    """Anything but a dictionary of arrays or a refusal fails the test."""
    try:
        tensors = parse(data, layers)
    except RefusedError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(name, str) and isinstance(values, np.ndarray) for name, values in tensors.items())
        assert sum(values.nbytes for values in tensors.values()) <= 2 * len(data)


def test_every_truncation_is_refused() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(RefusedError):
            parse(SMALL[:length])


def test_appended_bytes_are_refused() -> None:
    with pytest.raises(RefusedError, match="after its last storage"):
        parse(SMALL + b"\0")


def test_every_flipped_bit_is_read_or_refused() -> None:
    for position in range(HEADER + 8):
        for bit in range(8):
            data = bytearray(SMALL)
            data[position] ^= 1 << bit
            read_or_refuse(bytes(data))


@pytest.mark.slow
def test_every_opcode_at_every_place_is_read_or_refused() -> None:
    for position in range(len(HEAD), HEADER, 7):
        for code in range(256):
            read_or_refuse(SMALL[:position] + bytes([code]) + SMALL[position + 1 :])


@given(st.lists(st.tuples(st.integers(0, HEADER), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4))
def test_replaced_pieces_are_read_or_refused(edits: list[tuple[int, bytes, int]]) -> None:
    data = SMALL
    for position, piece, removed in edits:
        data = data[:position] + piece + data[position + removed :]
    read_or_refuse(data)


@given(st.binary(max_size=60))
def test_any_bytes_as_state_are_read_or_refused(pickled: bytes) -> None:
    read_or_refuse(HEAD + START + pickled + STOP + pickle.dumps([], 2))


@pytest.mark.slow
def test_mutations_of_the_real_header_are_read_or_refused(lite0_file: Path, rng: np.random.Generator) -> None:
    data = lite0_file.read_bytes()
    for _ in range(150):
        mutated = bytearray(data)
        for position in rng.integers(0, 47_176, rng.integers(1, 5)):
            mutated[position] = rng.integers(256)
        read_or_refuse(bytes(mutated))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"PK\x03\x04" + bytes(100), "altered|refused"),
        (bytes(100), "altered|refused"),
        (b"\x89PNG\r\n", "refused|altered"),
        (pickle.dumps(1, 2) + HEAD, "not a legacy"),
        (HEAD[:15] + pickle.dumps(1002, 2) + HEAD[21:], "not a legacy"),
        (pickle.dumps([[]], 2) + HEAD, "not a legacy"),
        (HEAD + pickle.dumps([1], 2) + pickle.dumps([], 2), "not a dictionary of tensors"),
        (HEAD + pickle.dumps({"a": 1}, 2) + pickle.dumps([], 2), "not a dictionary of tensors"),
        (HEAD + pickle.dumps({}, 2) + pickle.dumps({}, 2), "no list of storages"),
        (HEAD + pickle.dumps({}, 2) + pickle.dumps(["s"], 2), "other storages"),
        (HEAD + START + b"}" + number(1) + b"Ns" + STOP + pickle.dumps([], 2), "malformed"),  # a key that is no text
        (HEAD + START + b"Na" + STOP, "malformed"),  # append to nothing
    ],
)
def test_what_is_no_file_of_tensors_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse(data)


RAW = np.arange(4, dtype="<f4")


@pytest.mark.parametrize(
    "opcodes",
    [
        tensor(storage("s", 4), (5,), (1,)),
        tensor(storage("s", 4), (2, 2), (3, 1)),
        tensor(storage("s", 4), (2,), (1,), 3),
        tensor(storage("s", 4), (2,), (-1,), 1),
        tensor(storage("s", 4), (2,), (1,), -1),
        tensor(storage("s", 4), (2, 2), (1,)),
        tensor(storage("s", 4), (0,), (1,)),
        tensor(storage("s", 4), (1,) * 9, (1,) * 9),
        tensor(storage("s", 4), (2**31 - 1,) * 8, (2**31 - 1,) * 8),
        tensor(storage("s", 4), (1000, 1000), (0, 0)),  # a million elements out of one
        tensor(storage("s", 5), (4,), (1,)),
        tensor(storage("s", 3), (3,), (1,)),
        tensor(storage("s", -4), (4,), (1,)),
        tensor(storage("s", 4, b"Long"), (4,), (1,)),
        tensor(storage("s", 4, b"Quantised"), (4,), (1,)),
        tensor(storage("t", 4), (4,), (1,)),
        tensor(b"N", (4,), (1,)),
    ],
)
def test_tensor_that_does_not_fit_its_storage_is_refused(opcodes: bytes) -> None:
    with pytest.raises(RefusedError):
        parse(legacy_file({"t": opcodes}, {"s": RAW}))


def test_storage_of_two_types_is_refused() -> None:
    state = {"a": tensor(storage("s", 4), (4,), (1,)), "b": tensor(storage("s", 4, b"Int"), (4,), (1,))}
    with pytest.raises(RefusedError, match="two sizes or types"):
        parse(legacy_file(state, {"s": RAW}))


def test_many_views_of_one_storage_do_not_cost_memory() -> None:
    raw = np.zeros(100_000, "<f4")
    state = {str(i): tensor(storage("s", raw.size), (raw.size,), (1,)) for i in range(1000)}  # 400 MB
    data = legacy_file(state, {"s": raw})
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="overlap"):
            parse(data)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "pickled",
    [
        b"N" + b"r\xff\xff\xff\xff",  # a memo with four thousand million places
        b"X\xff\xff\xff\x7f",  # a text of 2 GB
        b"\x8a\xff" + b"\xff" * 20,  # a number longer than the file
        b")" + b"\x85q\x00h\x00\x86" * 60,  # a tuple whose hash would take 2**60 steps ...
        b"})" + b"q\x00h\x00\x86" * 60 + b"Ns",  # ... as a key
        b"(" * (2 * MAX_HEADER_BYTES),
    ],
)
def test_small_files_cannot_ask_for_much(pickled: bytes) -> None:
    with pytest.raises(RefusedError):
        parse(HEAD + START + pickled + STOP + pickle.dumps([], 2))


# --- attacks ---------------------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "wrap", [lambda call: call, lambda call: {"weight": call}, lambda call: [call], lambda call: Call(list, call)]
)
def test_calls_are_refused_and_not_made(tmp_path: Path, protocol: int, wrap: object) -> None:
    import os

    target = tmp_path / "made"
    for call in (
        Call(os.system, f"touch {target}"),
        Call(eval, f"open({str(target)!r}, 'w')"),
        Call(os.mkdir, str(target)),
    ):
        attack = pickle.dumps(wrap(call), protocol)  # type: ignore[operator]
        for data in (attack, HEAD + attack, HEAD + pickle.dumps({}, 2) + attack):
            with pytest.raises(RefusedError):
                parse(data)
    assert not target.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n" + text("true") + b"\x85R",
        b"cbuiltins\neval\n" + text("1") + b"\x85R",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch\nFloatStorage\n)R",
        b"ccollections\nOrderedDict\n" + text("a") + b"\x85R",
        b"ccollections\nOrderedDict\nccollections\nOrderedDict\n\x85R",
        ORDERED_DICT + b")R",  # calls the result of a call
        text("os system") + b")R",  # calls a text
        b"ctorch.storage\n_load_from_bytes\n" + text("") + b"\x85R",
        b"(" + text("storage") + text("torch FloatStorage") + text("k") + text("cpu") + number(1) + b"NtQ",
        b"(ios\nsystem\n",
        text("os") + text("system") + b"\x93",
        b"\x82\x01",
        b"Pname\n",
    ],
)
def test_opcodes_of_an_attack_are_refused(pickled: bytes) -> None:
    with pytest.raises(RefusedError):
        parse(HEAD + START + b"}" + text("w") + pickled + b"s" + STOP + pickle.dumps([], 2))


# --- files -----------------------------------------------------------------------------------------------------------


def test_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(SMALL[:-1])
    with pytest.raises(WeightsFileError, match=r"net\.pth: is truncated") as caught:
        read_torch_file(tmp_path / "net.pth")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"net\.pth: cannot be read"):
        read_torch_file(tmp_path / "net.pth")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="cannot be read"):
        read_torch_file(tmp_path)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # sparse: takes no room
    with pytest.raises(WeightsFileError, match="larger than"):
        read_torch_file(path)
