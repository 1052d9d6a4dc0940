"""Writing files whole or not at all; reading .npz files that may be damaged."""

import contextlib
import os

import numpy as np


@contextlib.contextmanager
def atomic_write(path, mode="wb", **options):
    """Opens a temporary file beside `path` that replaces it when the block ends well, and vanishes when it does not.

    The data are on disk before the name is: a reader, or a machine that loses power, sees the old file or the new
    one, never a part of it. The file's permissions are those of the old one, else the usual ones.
    """
    import tempfile  # these and what they import would take a third of the time of `import fastnn`

    path = os.path.realpath(os.fspath(path))  # through a symbolic link, so that the link stays one
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    handle, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _permissions(path):
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder):
    """Makes the new name itself durable, where the system can open folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_npz(path):
    """The arrays of an .npz file, by name; nothing in it is ever unpickled. ValueError where it is damaged."""
    import zipfile
    import zlib

    damage = (
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        OSError,
        RuntimeError,
    )
    path = os.fspath(path)
    with open(path, "rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not a whole archive of arrays")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            if len(set(archive.files)) < len(archive.files):
                raise ValueError("a name occurs twice")
            return {name: _array(archive, name) for name in archive.files}
        except damage as error:  # of a damaged directory too: places before the file's begin, flags of encryption
            raise ValueError(f"{path}: not a valid .npz file: {error}") from None


def _array(archive, name):
    try:
        array = archive[name]
    except ValueError as error:
        if "pickle" in str(error):  # NumPy's advice is to allow it
            raise ValueError(f"{name} holds Python objects; expected numbers or text") from None
        raise
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no array")
    return array
