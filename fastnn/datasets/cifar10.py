"""CIFAR-10: 32 x 32 colour pictures of ten kinds of things (Krizhevsky, 2009; states no licence, research use).

Read from, in this order: the binary version (cifar-10-binary.tar.gz or its unpacked files), a tar archive of JPEGs
named SPLIT/CLASS/NUMBER.jpg or its unpacked folders (needs Pillow), a single packed batch file (its last eighth is then
the test set).
"""

import glob
import io
import os

import numpy as np

from fastnn.datasets import files

NAME = "cifar10"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
FILES = {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}
BATCHES = (*(f"data_batch_{j}.bin" for j in range(1, 6)), "test_batch.bin")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32
PICTURES = (".jpg", ".jpeg", ".png")  # how their names end


def load_data(path=None):
    """((x_train, y_train), (x_test, y_test)): images (n, 32, 32, 3) of uint8, labels (n, 1) of uint8, as in Keras.

    50,000 and 10,000 pictures of the binary version; fewer where only a part is there. `path`: a folder or a file.
    """
    if path is not None and os.path.isfile(path):
        return _read_file(os.fspath(path))
    for folder in files.folders(NAME, path):
        inner = os.path.join(folder, "cifar-10-batches-bin")
        for place in (folder, inner):
            if all(os.path.isfile(os.path.join(place, name)) for name in BATCHES):
                return _batches({name: files.read_bytes(os.path.join(place, name)) for name in BATCHES}, place)
        if any(os.path.isdir(os.path.join(folder, "train", name)) for name in CLASSES):
            return _read_folder(folder)
        for pattern in ("cifar-10-binary.tar.gz", "*.tar.gz", "data_batch_*.bin.gz", "data_batch_*.bin"):
            found = sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
            if found:
                return _read_file(found[0])
    return _read_file(files.fetch(NAME, FILES, MIRRORS, path)[0])


def _read_file(path):
    if ".tar" in os.path.basename(path):
        return _read_tar(path)
    x, y = _records(path, files.read_bytes(path))
    test = max(1, len(x) // 8)
    return (x[:-test], y[:-test]), (x[-test:], y[-test:])


def _read_tar(path):
    """The binary version, or JPEGs."""
    import tarfile

    batches, pictures = {}, {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if not member.isfile():
                    continue
                if name in BATCHES:
                    batches[name] = archive.extractfile(member).read()
                elif name.endswith(PICTURES):
                    pictures[member.name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: damaged archive ({error}); delete it and get it again") from None
    if batches:
        missing = [name for name in BATCHES if name not in batches]
        if missing:
            raise ValueError(f"{path}: does not hold {', '.join(missing)}")
        return _batches(batches, path)
    if not pictures:
        raise ValueError(f"{path}: holds neither CIFAR-10's batches ({BATCHES[0]}, ...) nor pictures")
    return _pictures(pictures, path)


def _read_folder(folder):
    """Pictures in folders SPLIT/CLASS."""
    names = [
        "/".join((split, name, os.path.basename(file)))
        for split in ("train", "test")
        for name in CLASSES
        for file in glob.glob(os.path.join(glob.escape(folder), split, name, "*"))
        if file.endswith(PICTURES)
    ]
    return _pictures({name: files.read_bytes(os.path.join(folder, name)) for name in names}, folder)


def _batches(batches, where):
    parts = [_records(f"{where}: {name}", batches[name]) for name in BATCHES]
    x = np.concatenate([x for x, _ in parts[:-1]])
    y = np.concatenate([y for _, y in parts[:-1]])
    return (x, y), parts[-1]


def _records(where, content):
    """Images (n, 32, 32, 3) and labels (n, 1) of records: a label byte, then 1,024 red, green and blue bytes each."""
    if not content or len(content) % RECORD:
        raise ValueError(f"{where}: has {len(content)} bytes, expected a multiple of {RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = files.check_labels(where, records[:, :1].copy(), len(CLASSES))
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _pictures(pictures, path):
    """Pictures SPLIT/CLASS/NUMBER, in the order of their number so that the classes are mixed."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(f"{path}: reading JPEGs needs Pillow: pip install pillow") from None
    splits = {"train": [], "test": []}
    for name, content in pictures.items():
        parts = name.split("/")
        if len(parts) < 3 or parts[-3] not in splits or parts[-2] not in CLASSES:
            raise ValueError(f"{path}: {name} is not named train/CLASS/NUMBER or test/CLASS/NUMBER")
        splits[parts[-3]].append((parts[-1], CLASSES.index(parts[-2]), content))
    data = []
    for split, items in splits.items():
        items.sort(key=lambda item: item[:2])
        x = np.empty((len(items), 32, 32, 3), np.uint8)
        for row, (name, _, content) in enumerate(items):
            picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            if picture.shape != x.shape[1:]:
                raise ValueError(f"{path}: {split} picture {name} has shape {picture.shape}, expected {x.shape[1:]}")
            x[row] = picture
        data.append((x, np.array([label for _, label, _ in items], np.uint8).reshape(-1, 1)))
    return tuple(data)
