"""State files: named arrays and one JSON config, as safetensors or .npz.

    save_state("model.safetensors", {"dense/kernel": w, ...}, {"config": {...}})
    tensors, metadata = load_state("model.safetensors")

The config is kept as text under the metadata key "fastnn", with a format version: other programs read the tensors,
newer files are refused by older readers with a clear message. A checksum of config and tensors is kept beside it (an
.npz archive has its own).
"""

import json
import os
import zlib

import numpy as np

from fastnn.saving import safetensors
from fastnn.saving.files import atomic_write, read_npz

FORMAT = 1
KEY = "fastnn"
CHECKSUM = "fastnn_crc32"
#: Entry of an .npz file that holds the config's text.
NPZ_KEY = "__fastnn__"


def save_state(path, tensors, metadata=None):
    """Writes arrays and a JSON-ready dictionary to `path`, whole or not at all; as .npz or else safetensors."""
    path = os.fspath(path)
    try:
        text = json.dumps({"format": FORMAT, **(metadata or {})}, allow_nan=True)
    except TypeError as error:
        raise TypeError(f"save_state({path!r}): metadata must be fit for JSON: {error}") from None
    if path.endswith(".npz"):
        _write_npz(path, tensors, text)
    else:
        tensors = {name: np.asarray(array) for name, array in tensors.items()}
        safetensors.write(path, tensors, {KEY: text, CHECKSUM: _checksum(tensors, text)})


def load_state(path, mmap=False):
    """(tensors, metadata) of a file that `save_state` wrote; metadata is {} for a file of another program.

    A damaged file raises a ValueError that names the file and what is wrong. `mmap` as in `safetensors.read`: then the
    checksum is not asked, for that would read all of the file.
    """
    path = os.fspath(path)
    if _is_zip(path):
        tensors, text = _read_npz(path)
    else:
        tensors, strings = safetensors.read(path, mmap=mmap)
        text = strings.get(KEY)
        if not mmap and CHECKSUM in strings and _checksum(tensors, text or "") != strings[CHECKSUM]:
            raise ValueError(
                f"{path}: its contents do not fit its checksum: it is damaged, or another program changed it "
                f"(which should drop {CHECKSUM!r} from the metadata)"
            )
    return tensors, _parse(path, text)


def _checksum(tensors, text):
    """Of the config and of all tensors: names, types, shapes and contents."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], tensors[name].dtype.newbyteorder("<"))
        total = zlib.crc32(f"{name} {array.dtype.name} {tensors[name].shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8), total)
    return f"{total:08x}"


def load_metadata(path):
    """The metadata alone, without reading the tensors of a safetensors file."""
    path = os.fspath(path)
    text = _read_npz(path)[1] if _is_zip(path) else safetensors.read_header(path)[1].get(KEY)
    return _parse(path, text)


def _parse(path, text):
    if text is None:
        return {}
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its fastnn config is not valid JSON ({error})") from None
    if not isinstance(metadata, dict) or type(metadata.get("format")) is not int:
        raise ValueError(f"{path}: its fastnn config has no format number")
    if metadata["format"] > FORMAT:
        raise ValueError(
            f"{path}: written in format {metadata['format']}, this version of fastnn reads up to {FORMAT}; "
            "install a newer fastnn"
        )
    return {key: value for key, value in metadata.items() if key != "format"}


def _is_zip(path):
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _write_npz(path, tensors, text):
    import zipfile

    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    for name, array in arrays.items():
        if not isinstance(name, str) or name == NPZ_KEY:
            raise ValueError(f"save_state({path!r}): {name!r} cannot name a tensor")
        if array.dtype.hasobject:
            raise TypeError(f"save_state({path!r}): tensor {name!r} has dtype {array.dtype}, which cannot be saved")
    arrays[NPZ_KEY] = np.frombuffer(text.encode(), np.uint8)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(path):
    tensors = read_npz(path)
    stored = tensors.pop(NPZ_KEY, None)
    if stored is None:
        return tensors, None
    try:
        return tensors, stored.astype(np.uint8, casting="no").tobytes().decode()
    except (TypeError, UnicodeDecodeError):
        raise ValueError(f"{path}: its fastnn config is damaged") from None
