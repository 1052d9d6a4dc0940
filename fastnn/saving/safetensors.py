"""The safetensors file format, read and written with NumPy and json alone.

    8 bytes    n, little-endian: length of the header
    n bytes    header: JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
               "__metadata__": {"key": "text"}}, starting with "{", padded with spaces
    the rest   the tensors, row-major, little-endian, without holes; offsets count from here

Nothing in such a file is code. What is read is checked in full before any of it is used: a file that is cut, damaged
or made by hand to mislead is refused with a ValueError that names the file and what is wrong with it.
Format: https://github.com/huggingface/safetensors.
"""

import json
import math
import os
import sys

import numpy as np

from fastnn.saving.files import atomic_write

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
#: bfloat16 has no NumPy dtype: its bits come and go as uint16.
BFLOAT16 = "BF16"
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
#: The limit of the reference implementation, which keeps a header from being a memory bomb.
MAX_HEADER = 100_000_000
METADATA = "__metadata__"


def write(path, tensors, metadata=None, bfloat16=()):
    """Writes `tensors`, a dictionary of arrays, to `path`, whole or not at all.

    `metadata` is a dictionary of strings; `bfloat16` names those uint16 arrays that hold bfloat16 bits.
    """
    where = f"safetensors.write({os.fspath(path)!r})"
    arrays = {name: _little(where, name, array) for name, array in tensors.items()}
    for key, value in (metadata or {}).items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"{where}: metadata must map strings to strings, got {key!r}: {value!r}")
    unknown = set(bfloat16) - set(arrays)
    if unknown:
        raise ValueError(f"{where}: bfloat16 names tensors that are not there: {', '.join(sorted(unknown))}")
    # Widest first keeps every tensor aligned to its own size.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header = {METADATA: dict(metadata)} if metadata else {}
    offset = 0
    for name in order:
        array = arrays[name]
        code = CODES[array.dtype]
        if name in bfloat16:
            if code != "U16":
                raise TypeError(f"{where}: tensor {name!r} must be uint16 to hold bfloat16 bits, got {array.dtype}")
            code = BFLOAT16
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"{where}: the header would have {len(text)} bytes, more than the format's {MAX_HEADER}")
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(memoryview(arrays[name].reshape(-1).view(np.uint8)))


def _little(where, name, array):
    """`array` C-contiguous and little-endian; checked."""
    if not isinstance(name, str) or name == METADATA:
        raise ValueError(f"{where}: {name!r} cannot name a tensor")
    array = np.asarray(array)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    if array.dtype not in CODES:
        raise TypeError(f"{where}: tensor {name!r} has dtype {array.dtype}, which the format does not know")
    return array


def read_header(path):
    """(entries, metadata, start of the data) of a file, all checked; see `read` for what may be raised."""
    path = os.fspath(path)
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        return _header(path, file, size)


def read(path, mmap=False):
    """(tensors, metadata): a dictionary of arrays, in the order of the data, and the dictionary of strings.

    With `mmap` the arrays are read-only views of the file, loaded as they are used; otherwise they are in memory and
    may be written to. bfloat16 tensors come as uint16; `read_header` tells them apart.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        entries, metadata, start = _header(path, file, size)
        length = size - start
        if mmap and length:
            data = np.memmap(file, np.uint8, "r", offset=start)
        else:
            data = np.empty(length, np.uint8)
            if file.readinto(memoryview(data)) != length:
                raise ValueError(f"{path}: the file became shorter while it was read")
    tensors = {}
    for name, (code, shape, begin, end) in entries.items():
        dtype = np.dtype("<u2" if code == BFLOAT16 else DTYPES[code])
        raw = data[begin:end]
        if raw.ctypes.data % dtype.alignment:
            raw = raw.copy()
        if code == "BOOL" and raw.size and raw.max() > 1:
            _fail(path, f"tensor {name!r}: a BOOL must be 0 or 1, got {raw.max()}")
        array = raw.view(dtype).reshape(shape)
        tensors[name] = array if sys.byteorder == "little" else array.astype(dtype.newbyteorder("="))
    return tensors, metadata


def _fail(path, problem):
    raise ValueError(f"{path}: not a valid safetensors file: {problem}")


def _header(path, file, size):
    if size < 8:
        _fail(path, f"it has {size} bytes, fewer than the 8 of the header's length")
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        _fail(path, f"the header's length is given as {length} bytes, more than the limit of {MAX_HEADER}")
    if 8 + length > size:
        _fail(path, f"the header should have {length} bytes, but the file ends after {size - 8} (is it cut short?)")
    text = file.read(length)
    if not text.startswith(b"{"):
        _fail(path, "the header must start with '{'")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        _fail(path, f"the header is not UTF-8 ({error.reason} at byte {error.start})")
    except RecursionError:
        _fail(path, "the header is nested too deeply")
    except ValueError as error:
        _fail(path, f"the header is not valid JSON ({error})")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _fail(path, f"{METADATA} must be a dictionary of strings")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    entries = dict(sorted(entries.items(), key=lambda item: item[1][2:]))
    expected = 0
    for name, (_, _, begin, end) in entries.items():
        if begin != expected:
            problem = "overlaps the tensor before it" if begin < expected else "leaves a hole before it"
            _fail(path, f"tensor {name!r} starts at offset {begin}, not {expected}: it {problem}")
        expected = end
    start = 8 + length
    if start + expected != size:
        what = "ends early (is it cut short?)" if start + expected > size else "has bytes that no tensor owns"
        _fail(path, f"the tensors take {expected} bytes, the file holds {size - start}: it {what}")
    return entries, metadata, start


def _unique(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"name {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return dict(pairs)


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def _entry(path, name, entry):
    """(code, shape, begin, end) of one tensor's entry."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _fail(path, f"tensor {name!r} must have exactly dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if code != BFLOAT16 and not (isinstance(code, str) and code in DTYPES):
        known = ", ".join([*DTYPES, BFLOAT16])
        _fail(path, f"tensor {name!r} has dtype {code!r}; this reader knows {known}")
    if not _counts(shape):
        _fail(path, f"tensor {name!r} has shape {shape!r}; expected a list of non-negative integers")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _fail(path, f"tensor {name!r} has data_offsets {offsets!r}; expected [begin, end]")
    needed = math.prod(shape) * (2 if code == BFLOAT16 else np.dtype(DTYPES[code]).itemsize)
    if offsets[1] - offsets[0] != needed:
        _fail(
            path, f"tensor {name!r} of shape {shape} and dtype {code} needs {needed} bytes, has data_offsets {offsets}"
        )
    if len(shape) > 64 or max(shape, default=0) > 2**62:
        _fail(path, f"tensor {name!r} has shape {shape}, larger than NumPy allows")
    return code, tuple(shape), offsets[0], offsets[1]


def _counts(values):
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)
