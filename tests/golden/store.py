"""The golden files: many small arrays in one .npz, as one flat vector and an index of names, shapes and offsets.

One member per array would cost some 300 bytes each, more than most of the arrays.
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


def save(name, arrays, **about):
    """Write ``arrays`` (name -> array) to ``<name>.npz``; ``about`` says what recorded them and in which version."""
    index, parts, offset = {}, [], 0
    for key, value in arrays.items():
        value = np.asarray(value, dtype=np.float64)
        index[key] = [offset, list(value.shape)]
        parts.append(value.ravel())
        offset += value.size
    text = json.dumps({"about": about, "index": index}, separators=(",", ":"))
    np.savez_compressed(FOLDER / f"{name}.npz", data=np.concatenate(parts), index=np.array(text))
    return FOLDER / f"{name}.npz"


def load(name):
    """Read ``<name>.npz``: a dict name -> float64 array, with ``""`` -> the record of what made it."""
    with np.load(FOLDER / f"{name}.npz") as file:
        data, text = file["data"], json.loads(str(file["index"]))
    arrays = {"": text["about"]}
    for key, (offset, shape) in text["index"].items():
        arrays[key] = data[offset : offset + int(np.prod(shape))].reshape(shape)
    return arrays


def rand(seed, shape, low=-1.0, high=1.0):
    """Uniform float64 numbers. ``RandomState`` on purpose: NumPy keeps its streams frozen: inputs need no storing."""
    return np.random.RandomState(seed).uniform(low, high, shape)
