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
from dataclasses import dataclass, field
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

ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
SET = "__builtin__ set"
STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
}
ALLOWED_NAMES = {ORDERED_DICT, REBUILD_TENSOR, *STORAGE_DTYPES}
ALLOWED_IN_LAYERS = {REBUILD_PARAMETER, SET}

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
CONTAINERS: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
STORE, FETCH = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
ALLOWED_OPCODES = {
    *CONSTANTS, *LITERALS, *CONTAINERS, *SHORT_TUPLES, *STORE, *FETCH, "PROTO", "MARK", "TUPLE", "SETITEM", "SETITEMS",
    "APPEND", "APPENDS", "GLOBAL", "REDUCE", "BINPERSID", "BUILD", "STOP",
}  # fmt: skip
LAYER_OPCODES = {"NEWOBJ", "BINFLOAT"}
OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
MALFORMED = "is truncated or altered: its pickle is malformed"


class Name(NamedTuple):
    """An allowed name in the file, such as ``torch FloatStorage``; never the object it names."""

    text: str


class Storage(NamedTuple):
    """A storage the state dictionary refers to."""

    key: str
    dtype: np.dtype[Any]
    length: int


class Tensor(NamedTuple):
    """A tensor in a storage, before its elements have been read; strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclass(eq=False)
class Layer:
    """A layer of a network that was saved whole: its attributes, no code."""

    attributes: dict[str, Any] = field(default_factory=dict)


class RefusedError(ValueError):
    """The file holds something that a plain dictionary of tensors does not need."""


def read_torch_file(path: str | Path, layers: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read every tensor of a legacy PyTorch file that holds a state dictionary.

    Parameters
    ----------
    path : str or Path
        The file. Nothing in it is executed.
    layers : collection of str
        Classes that a network saved whole may be made of, such as ``torch.nn.modules.conv.Conv2d``; they
        are neither imported nor used. By default only a dictionary of tensors is read.

    Returns
    -------
    dict of str to ndarray
        Tensors by name, in the file's order, as arrays of their own memory.

    Raises
    ------
    WeightsFileError
        If the file cannot be read, is truncated or altered, or holds anything but a dictionary of
        tensors.
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
    """Return the tensors in the bytes of a legacy PyTorch file.

    Raises
    ------
    RefusedError
        If the bytes are anything else.
    """
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
    if sum(t.nbytes for t in state.values()) > 2 * len(data):
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
    for key in keys:
        storage = declared[key]
        count = int.from_bytes(data[start : start + 8], "little")
        start += 8
        end = start + count * storage.dtype.itemsize
        if count != storage.length or end > len(data):
            raise RefusedError("is truncated or altered: a storage has the wrong size")
        storages[storage] = np.frombuffer(data, storage.dtype, count, start)
        start = end
    if start != len(data):
        raise RefusedError("has bytes after its last storage")
    return storages


def read_tensor(tensor: Tensor, storages: dict[Storage, np.ndarray]) -> np.ndarray:
    """Copy a tensor out of its storage, so that arrays are aligned and the file's bytes can be freed."""
    if tensor.storage not in storages:
        raise RefusedError("has a storage with two sizes or types")
    size = tensor.storage.dtype.itemsize
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= tensor.storage.length:
        raise RefusedError("has a tensor that reaches beyond its storage")
    elements = storages[tensor.storage][tensor.offset :]
    return as_strided(elements, tensor.shape, [stride * size for stride in tensor.strides], writeable=False).copy()


def interpret(stream: io.BytesIO, layers: Collection[str] = ()) -> Any:
    """Interpret one pickle of allowed opcodes and return the value it describes."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    try:
        while True:
            name, argument = next_opcode(stream, bool(layers))
            if name == "STOP":
                return stack.pop()
            if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name in LITERALS or name == "BINFLOAT":
                stack.append(argument)
            elif name in CONTAINERS:
                stack.append(CONTAINERS[name]())
            elif name in SHORT_TUPLES:
                stack.append(tuple([stack.pop() for _ in range(SHORT_TUPLES[name])][::-1]))
            elif name in STORE:
                memo[argument] = stack[-1]
            elif name in FETCH:
                stack.append(memo[argument])
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "TUPLE":
                stack.append(tuple(pop_to_mark()))
            elif name in ("SETITEM", "SETITEMS"):
                items = pop_to_mark() if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
                set_items(stack[-1], items)
            elif name in ("APPEND", "APPENDS"):
                items = pop_to_mark() if name == "APPENDS" else [stack.pop()]
                append_items(stack[-1], items)
            elif name == "GLOBAL":
                stack.append(allowed_name(argument, layers))
            elif name == "BINPERSID":
                stack.append(reference(stack.pop(), layers))
            elif name == "REDUCE":
                arguments = stack.pop()
                stack.append(rebuild(stack.pop(), arguments))
            elif name == "NEWOBJ":
                arguments = stack.pop()
                stack.append(new_layer(stack.pop(), arguments, layers))
            elif name == "BUILD":
                build(stack.pop(), stack[-1])
    except (IndexError, KeyError) as error:  # an empty stack, no mark, nothing under a memo's number
        raise RefusedError(MALFORMED) from error


def next_opcode(stream: io.BytesIO, in_layers: bool) -> tuple[str, Any]:
    """Read one opcode and its argument; an opcode that is not allowed is refused before its argument is read."""
    opcode = OPCODES.get(stream.read(1).decode("latin-1"))
    if opcode is None:
        raise RefusedError(MALFORMED)
    if opcode.name not in ALLOWED_OPCODES and not (in_layers and opcode.name in LAYER_OPCODES):
        raise RefusedError(f"is refused: its pickle uses {opcode.name}, which a dictionary of tensors does not need")
    if opcode.name == "GLOBAL":  # pickletools would unescape the names
        return opcode.name, f"{stream.readline()[:-1].decode('latin-1')} {stream.readline()[:-1].decode('latin-1')}"
    try:
        return opcode.name, opcode.arg.reader(stream) if opcode.arg else None
    except ValueError as error:
        raise RefusedError(MALFORMED) from error


def allowed_name(text: str, layers: Collection[str]) -> Name:
    """Accept one of the few names that a dictionary of tensors needs, or that of a layer."""
    in_layers = text in ALLOWED_IN_LAYERS or text.replace(" ", ".") in layers
    if text not in ALLOWED_NAMES and not (layers and in_layers):
        raise RefusedError(
            f"is refused: its pickle asks for {text[:80]!r}, which is not part of a dictionary of tensors"
        )
    return Name(text)


def set_items(target: Any, items: list[Any]) -> None:
    """Add alternating keys and values to a dictionary; only text is a key, so hashing is cheap."""
    keys, values = items[::2], items[1::2]
    if not isinstance(target, dict) or len(keys) != len(values) or not all(isinstance(k, str) for k in keys):
        raise RefusedError(MALFORMED)
    target.update(zip(keys, values, strict=True))


def append_items(target: Any, items: list[Any]) -> None:
    """Add values to a list."""
    if not isinstance(target, list):
        raise RefusedError(MALFORMED)
    target.extend(items)


def new_layer(kind: Any, arguments: Any, layers: Collection[str]) -> Layer:
    """Stand in for the making of a layer."""
    match kind, arguments:
        case Name(text), () if text.replace(" ", ".") in layers:
            return Layer()
    raise RefusedError("is refused: it makes something which is no layer")


def build(state: Any, target: Any) -> None:
    """Keep a layer's attributes; those of a dictionary, such as torch's `_metadata`, are not needed."""
    if isinstance(target, Layer):
        if not isinstance(state, dict):
            raise RefusedError(MALFORMED)
        target.attributes = state


def reference(persistent: Any, layers: Collection[str]) -> Storage | Name:
    """Check a reference to a storage, or to a layer beside whose name the file has its source."""
    match persistent:
        case ("module", Name(text) as name, *_) if text.replace(" ", ".") in layers:
            return name
    return storage_reference(persistent)


def storage_reference(persistent: Any) -> Storage:
    """Check ("storage", type, key, device, number of elements, None) and keep what matters of it."""
    match persistent:
        case ("storage", Name(text), str(key), str(), int(count), None) if text in STORAGE_DTYPES and count > 0:
            return Storage(key, STORAGE_DTYPES[text], count)
    raise RefusedError("is truncated or altered: it has a malformed storage")


def rebuild(function: Any, arguments: Any) -> Any:
    """Stand in for the calls allowed: an empty ordered dictionary, and a tensor; in layers, a parameter and a set."""
    match function, arguments:
        case Name(text), () if text == ORDERED_DICT:
            return {}
        case Name(text), (Tensor() as tensor, *_) if text == REBUILD_PARAMETER:
            return tensor
        case Name(text), (list() as items,) if text == SET:
            return items
        case Name(text), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            sizes = all(map(is_size, (offset, *shape, *strides))) and len(shape) == len(strides) <= MAX_DIMENSIONS
            if text == REBUILD_TENSOR and sizes and all(shape):
                return Tensor(storage, offset, shape, strides)
    raise RefusedError("is refused: it has a call which does not rebuild a tensor")


def is_size(value: Any) -> bool:
    """Return whether a value can be a number of elements."""
    return isinstance(value, int) and 0 <= value <= MAX_FILE_BYTES
