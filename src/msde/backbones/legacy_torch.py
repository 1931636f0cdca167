"""Read the tensors of a legacy PyTorch file without PyTorch and without running anything the file says.

Such a file (``torch.save`` before 1.6) is a sequence of five pickles (magic number, protocol version,
machine description, the state dictionary, the keys of its storages) and then, for each key, the number
of elements and the raw elements. Python's unpickler is not used: the few opcodes that describe a
dictionary of tensors are interpreted here, and any other opcode or name is refused. A name in the
file is only ever compared with the allowed ones, never looked up, so nothing can be imported or called.

A network that was saved whole can be read too, if its layers are among those that the caller names: a
layer is then a bag of attributes, of which only tensors and layers within are kept.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from msde.errors import WeightsFileError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAX_FILE_BYTES = 2**31
MAX_HEADER_BYTES = 2**20  # all five pickles; a ResNet-152 needs some 150 kB
MAX_DIMENSIONS = 8
MAX_NAME = 500  # characters of a tensor's name, with the layers that it is in

STORAGES = {
    f"torch {kind}Storage": np.dtype(code)
    for kind, code in (
        ("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"),
        ("Char", "<i1"), ("Byte", "<u1"),
    )
}  # fmt: skip
ALLOWED_NAMES = {
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "__builtin__ set",
    *STORAGES,
}  # fmt: skip

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
CONTAINERS: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"}
STORE, FETCH = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
# How many values an opcode takes off the stack; None: all since the last mark.
TUPLES: dict[str, int | None] = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
FILLS: dict[str, int | None] = {"SETITEM": 2, "SETITEMS": None, "APPEND": 1, "APPENDS": None, "BUILD": 1}
MAKES = {"REDUCE": 2, "NEWOBJ": 2, "BINPERSID": 1}
ALLOWED_OPCODES = {"PROTO", "MARK", "GLOBAL", "STOP"}.union(
    CONSTANTS, CONTAINERS, LITERALS, STORE, FETCH, TUPLES, FILLS, MAKES
)
OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
MALFORMED = "is truncated or altered: its pickle is malformed"
REFUSED = {
    "REDUCE": "is refused: it has a call which does not rebuild a tensor",
    "NEWOBJ": "is refused: it makes something which is no layer",
    "BINPERSID": "is truncated or altered: it has a malformed storage",
}


class Name(NamedTuple):
    """An allowed name in the file, such as ``torch FloatStorage``; never the object it names."""

    text: str


class Storage(NamedTuple):
    """A storage the state dictionary refers to, of so many elements."""

    key: str
    dtype: np.dtype[Any]
    length: int


class Tensor(NamedTuple):
    """A tensor in a storage, before its elements have been read; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Layer:
    """A layer of a network that was saved whole: its attributes, no code."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}


class RefusedError(ValueError):
    """The file holds something that a plain dictionary of tensors does not need."""


def read_torch_file(path: str | Path, layers: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read every tensor of a legacy PyTorch file by name, in the file's order, as arrays of their own memory.

    It holds a state dictionary, or a network saved whole of the classes in `layers`, such as
    ``torch.nn.modules.conv.Conv2d``, which are neither imported nor used. Raises WeightsFileError if it cannot be
    read, is truncated or altered, or holds anything else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RefusedError(f"is larger than {MAX_FILE_BYTES} bytes")
        return parse(path.read_bytes(), layers)
    except OSError as error:
        raise WeightsFileError(f"{path}: cannot be read: {error.strerror}") from error
    except RefusedError as error:
        raise WeightsFileError(f"{path}: {error}; fetch the weights file again") from error


def parse(data: bytes, layers: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Return the tensors in the bytes of a legacy PyTorch file; raise RefusedError if they are anything else."""
    header = io.BytesIO(data[:MAX_HEADER_BYTES])
    if [interpret(header), interpret(header)] != [MAGIC_NUMBER, PROTOCOL_VERSION]:
        raise RefusedError("is not a legacy PyTorch file")
    _machine, state, keys = interpret(header), interpret(header, layers), interpret(header)
    if isinstance(state, Layer):
        state = dict(tensors_of(state))
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise RefusedError("is not a dictionary of tensors")
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise RefusedError("has no list of storages")
    if sum(math.prod(t.shape) * t.storage.dtype.itemsize for t in state.values()) > 2 * len(data):
        raise RefusedError("has tensors that overlap")  # each is copied, so this would cost memory without limit
    storages = read_storages(data, header.tell(), keys, {t.storage.key: t.storage for t in state.values()})
    return {name: read_tensor(tensor, storages) for name, tensor in state.items()}


def tensors_of(network: Layer) -> Iterator[tuple[str, Tensor]]:
    """Walk through a network's layers; each may be in one place only, so that this ends."""
    left, seen = [("", network)], set()
    while left:
        prefix, layer = left.pop()
        if id(layer) in seen:
            raise RefusedError("is refused: it has a layer in two places")
        seen.add(id(layer))
        for group in ("_parameters", "_buffers", "_modules"):
            members = layer.attributes.get(group, {})
            if not isinstance(members, dict):
                raise RefusedError(MALFORMED)
            for name, member in members.items():
                if len(prefix) + len(name) > MAX_NAME:
                    raise RefusedError("is refused: the names of its layers are too long")
                if isinstance(member, Layer):
                    left.append((f"{prefix}{name}.", member))
                elif member is not None:
                    yield f"{prefix}{name}", member


def read_storages(data: bytes, start: int, keys: list[str], declared: dict[str, Storage]) -> dict[Storage, np.ndarray]:
    """View the raw storages which follow the pickles; sizes must agree with the pickles and the file."""
    if len(keys) != len(declared) or set(keys) != set(declared):
        raise RefusedError("lists other storages than its tensors use")
    storages = {}
    for storage in map(declared.__getitem__, keys):
        count = int.from_bytes(data[start : start + 8], "little")
        end = start + 8 + count * storage.dtype.itemsize
        if count != storage.length or end > len(data):
            raise RefusedError("is truncated or altered: a storage has the wrong size")
        storages[storage] = np.frombuffer(data, storage.dtype, count, start + 8)
        start = end
    if start != len(data):
        raise RefusedError("has bytes after its last storage")
    return storages


def read_tensor(tensor: Tensor, storages: dict[Storage, np.ndarray]) -> np.ndarray:
    """Copy a tensor out of its storage, so that arrays are aligned and the file's bytes can be freed."""
    if tensor.storage not in storages:
        raise RefusedError("has a storage with two sizes or types")
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= tensor.storage.length:
        raise RefusedError("has a tensor that reaches beyond its storage")
    elements, size = storages[tensor.storage][tensor.offset :], tensor.storage.dtype.itemsize
    return as_strided(elements, tensor.shape, [stride * size for stride in tensor.strides], writeable=False).copy()


def interpret(stream: io.BytesIO, layers: Collection[str] = ()) -> Any:
    """Interpret one pickle of allowed opcodes and return the value it describes."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def take(n: int | None) -> list[Any]:
        """Take values off the stack."""
        if n is not None:
            return [stack.pop() for _ in range(n)][::-1]
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    try:
        while True:
            opcode, argument = next_opcode(stream)
            if opcode == "STOP":
                return stack.pop()
            if opcode in CONSTANTS:
                stack.append(CONSTANTS[opcode])
            elif opcode in CONTAINERS:
                stack.append(CONTAINERS[opcode]())
            elif opcode in LITERALS:
                stack.append(argument)
            elif opcode in STORE:
                memo[argument] = stack[-1]
            elif opcode in FETCH:
                stack.append(memo[argument])
            elif opcode == "MARK":
                marks.append(len(stack))
            elif opcode == "GLOBAL":
                stack.append(allowed_name(argument, layers))
            elif opcode in TUPLES:
                stack.append(tuple(take(TUPLES[opcode])))
            elif opcode in FILLS:
                fill(opcode, take(FILLS[opcode]), stack[-1])
            elif opcode in MAKES:
                stack.append(make(opcode, take(MAKES[opcode]), layers))
    except (IndexError, KeyError) as error:  # an empty stack, no mark, nothing under a memo's number
        raise RefusedError(MALFORMED) from error


def next_opcode(stream: io.BytesIO) -> tuple[str, Any]:
    """Read one opcode and its argument; an opcode that is not allowed is refused before its argument is read."""
    opcode = OPCODES.get(stream.read(1).decode("latin-1"))
    if opcode is None:
        raise RefusedError(MALFORMED)
    if opcode.name not in ALLOWED_OPCODES:
        raise RefusedError(f"is refused: its pickle uses {opcode.name}, which a dictionary of tensors does not need")
    if opcode.name == "GLOBAL":  # pickletools would unescape the names
        return opcode.name, f"{stream.readline()[:-1].decode('latin-1')} {stream.readline()[:-1].decode('latin-1')}"
    try:
        return opcode.name, opcode.arg.reader(stream) if opcode.arg else None
    except ValueError as error:
        raise RefusedError(MALFORMED) from error


def allowed_name(text: str, layers: Collection[str]) -> Name:
    """Accept one of the few names that a dictionary of tensors needs, or that of a layer."""
    if text not in ALLOWED_NAMES and text.replace(" ", ".") not in layers:
        raise RefusedError(
            f"is refused: its pickle asks for {text[:80]!r}, which is not part of a dictionary of tensors"
        )
    return Name(text)


def fill(opcode: str, values: list[Any], target: Any) -> None:
    """Put values into a list, a dictionary (only text is a key, so hashing is cheap) or a layer."""
    match opcode, target:
        case (("SETITEM" | "SETITEMS"), dict()) if len(values) % 2 == 0 and all(
            isinstance(k, str) for k in values[::2]
        ):
            target.update(zip(values[::2], values[1::2], strict=True))
        case (("APPEND" | "APPENDS"), list()):
            target.extend(values)
        case "BUILD", Layer() if isinstance(values[0], dict):
            target.attributes = values[0]
        case "BUILD", _ if not isinstance(target, Layer):
            pass  # attributes of a dictionary, such as torch's `_metadata`, are not needed
        case _:
            raise RefusedError(MALFORMED)


def make(opcode: str, values: list[Any], layers: Collection[str]) -> Any:
    """Stand in for the calls allowed, for the making of a layer, and for a reference to a storage or a layer's name."""
    match opcode, *values:
        case "BINPERSID", ("storage", Name(kind), str(key), str(), int(count), None) if kind in STORAGES and count > 0:
            return Storage(key, STORAGES[kind], count)
        case "BINPERSID", ("module", Name(text) as name, *_) if text.replace(" ", ".") in layers:
            return name  # beside it the file has the layer's source
        case "NEWOBJ", Name(text), () if text.replace(" ", ".") in layers:
            return Layer()
        case "REDUCE", Name("collections OrderedDict"), ():
            return {}
        case "REDUCE", Name("torch._utils _rebuild_parameter"), (Tensor() as tensor, *_):
            return tensor
        case "REDUCE", Name("__builtin__ set"), (list() as items,):
            return items
        case "REDUCE", Name("torch._utils _rebuild_tensor_v2"), (
            Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ) if (
            len(shape) == len(strides) <= MAX_DIMENSIONS
            and all(map(is_size, (offset, *shape, *strides)))
            and all(shape)
        ):
            return Tensor(storage, offset, shape, strides)
    raise RefusedError(REFUSED[opcode])


def is_size(value: Any) -> bool:
    """Whether a value can be a number of elements."""
    return isinstance(value, int) and 0 <= value <= MAX_FILE_BYTES
