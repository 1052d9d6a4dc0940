"""Where the files of data sets come from: a given folder, $FASTNN_DATA, the cache, or the network.

FASTNN_DATA    folder that holds the sets: mnist/, fashion-mnist/, cifar10/, tabular/, or the files themselves
FASTNN_CACHE   folder for what is downloaded (default ~/.cache/fastnn)
"""

import gzip
import hashlib
import os
import zlib

import numpy as np

from fastnn.saving.files import atomic_write

TIMEOUT = 30.0


def cache_folder(name):
    """The folder that downloads of the set `name` are kept in."""
    root = os.environ.get("FASTNN_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "fastnn")
    return os.path.join(root, name)


def folders(name, path=None):
    """The folders to look for the set `name` in, best first. With `path`, only there."""
    if path is not None:
        path = os.fspath(path)
        if not os.path.isdir(path):
            what = "is not a folder" if os.path.exists(path) else "does not exist"
            raise FileNotFoundError(f"{name}: path {path} {what}")
        return [path, os.path.join(path, name)]
    data = os.environ.get("FASTNN_DATA")
    # A folder with the set's name comes first: mnist and fashion-mnist have files of the same names.
    return [*([os.path.join(data, name), data] if data else []), cache_folder(name)]


def locate(name, files, path=None):
    """The paths of the files of set `name`, all from one folder; None where no folder has them all.

    A file may be there under its own name or unpacked, without ".gz".
    """
    for folder in folders(name, path):
        found = [_present(folder, file) for file in files]
        if all(found):
            return found
    return None


def _present(folder, file):
    for name in (file, file.removesuffix(".gz")):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None


def fetch(name, files, mirrors, path=None):
    """The paths of the files of set `name`; downloads to the cache what is nowhere else.

    `files` maps file names to sha256, `mirrors` lists URLs that end in "/".
    """
    found = locate(name, files, path)
    if found:
        return found
    if path is not None:
        raise FileNotFoundError(f"{name}: {os.fspath(path)} does not hold {', '.join(files)}")
    folder = cache_folder(name)
    return [_present(folder, file) or _download(name, file, sha256, mirrors, folder) for file, sha256 in files.items()]


def _download(name, file, sha256, mirrors, folder):
    import http.client
    import urllib.request  # a third of all import time, needed once in a lifetime

    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, file)
    problems = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + file, timeout=TIMEOUT) as answer, atomic_write(target) as out:
                digest = hashlib.sha256()
                while block := answer.read(1 << 20):
                    digest.update(block)
                    out.write(block)
                if digest.hexdigest() != sha256:
                    raise ValueError(f"sha256 is {digest.hexdigest()}, expected {sha256}")
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            problems.append(f"{mirror}{file}: {getattr(error, 'reason', error) or type(error).__name__}")
        else:
            return target
    raise OSError(
        f"{name}: cannot download {file} ({'; '.join(problems)}). Without a network put the file into {folder}, or "
        f"into a folder {name}/ below the one that FASTNN_DATA names, or pass its folder as path="
    )


def read_bytes(path):
    """The content of a file, unpacked where it is gzipped."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}); delete it and get it again") from None


#: Type codes of IDX files.
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path, shape=None, dtype=None):
    """The array of an IDX file, gzipped or not: bytes 0 0 type rank, big-endian uint32 sizes, then the values.

    `shape` (None for any size) and `dtype` are what is expected.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path}: not an IDX file: it starts with {content[:4].hex(' ') or 'nothing'}")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"{path}: damaged IDX file: it ends within the sizes")
    sizes = tuple(int(n) for n in np.frombuffer(content, ">u4", rank, 4))
    kind = np.dtype(IDX_TYPES[content[2]])
    needed = kind.itemsize * int(np.prod(sizes, dtype=object))
    if len(content) - start != needed:
        raise ValueError(f"{path}: damaged IDX file: shape {sizes} needs {needed} bytes, it has {len(content) - start}")
    if dtype is not None and kind != np.dtype(dtype):
        raise ValueError(f"{path}: holds {kind}, expected {np.dtype(dtype)}")
    if shape is not None and (rank != len(shape) or any(n not in (None, m) for n, m in zip(shape, sizes, strict=True))):
        raise ValueError(f"{path}: has shape {sizes}, expected {tuple('n' if n is None else n for n in shape)}")
    values = np.frombuffer(content, kind, offset=start).reshape(sizes)
    return values.astype(kind.newbyteorder("="))  # a copy that may be written to


def check_labels(path, labels, classes):
    if labels.size and labels.max() >= classes:
        raise ValueError(f"{path}: labels must be in 0..{classes - 1}, got {labels.max()}")
    return labels
