"""Augmentation of images: ns a pixel and channel beside SciPy, NumPy and Keras, on one thread.

    python benchmarks/bench_augmentation.py [--batch 128] [--images 28x28x1,32x32x3] [--keras] [name ...]

Ours is the draw and its application, called on an array (a plan runs the same two kernels); SciPy transforms image by
image, given the transforms; NumPy does the whole batch; Keras is the layer of the same name on its backend
(KERAS_BACKEND). The last column is our time in copies of the batch, the ceiling, measured in the same run. Rounds are
interleaved; the least time counts.
"""

import argparse
import importlib.util
from functools import partial

import numpy as np
from bench_elementwise import least

import fastnn
from fastnn import kernels, layers

VALUE_RANGE = (0.0, 1.0)
LAYERS = {
    "RandomRotation": {"factor": 0.05},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
    "RandomFlip": {"mode": "horizontal"},
    "RandomCrop": {},
    "RandomContrast": {"factor": 0.2, "value_range": VALUE_RANGE},
    "RandomBrightness": {"factor": 0.2, "value_range": VALUE_RANGE},
    "RandomErasing": {"fill_value": 0.0, "value_range": VALUE_RANGE},
    "MixUp": {},
    "GaussianNoise": {"stddev": 0.1},
    "Resizing": {},
}


def options_of(name, shape):
    half = {"height": shape[1] - 4, "width": shape[2] - 4}
    return half if name in ("RandomCrop", "Resizing") else LAYERS[name]


def in_numpy(name, x, options):
    """The same work in NumPy or SciPy, or None."""
    rng, n = np.random.default_rng(1), len(x)
    if name in ("RandomRotation", "RandomTranslation", "RandomZoom"):
        if importlib.util.find_spec("scipy") is None:
            return None
        from scipy import ndimage

        kind = name.removeprefix("Random").lower()
        m = kernels.draw_affine(kind, n, x.shape[1:3], (-0.1, 0.1), (-0.1, 0.1), seed=1)
        out = np.empty_like(x)

        def transform():
            for j in range(n):
                matrix, offset = [[m[j, 4], m[j, 3]], [m[j, 1], m[j, 0]]], [m[j, 5], m[j, 2]]
                for c in range(x.shape[3]):
                    ndimage.affine_transform(
                        x[j, ..., c], matrix, offset, output=out[j, ..., c], order=1, mode="reflect", prefilter=False
                    )  # fmt: skip

        return transform
    lift = (slice(None), None, None, None)
    if name == "RandomFlip":
        return lambda: np.where((rng.random(n) < 0.5)[lift], x[:, :, ::-1], x)
    if name == "RandomCrop":
        h, w = options["height"], options["width"]

        def crop():
            out = np.empty((n, h, w, x.shape[3]), x.dtype)
            for j, (top, left) in enumerate(rng.integers(0, 5, (n, 2)).tolist()):
                out[j] = x[j, top : top + h, left : left + w]
            return out

        return crop
    if name == "RandomContrast":

        def contrast():
            mean = x.mean(axis=(1, 2), keepdims=True)
            y = x - mean
            y *= rng.uniform(0.8, 1.2, n).astype(np.float32)[lift]
            y += mean
            return np.clip(y, 0, 1, out=y)

        return contrast
    if name == "RandomBrightness":

        def brightness():
            y = x + rng.uniform(-0.2, 0.2, n).astype(np.float32)[lift]
            return np.clip(y, 0, 1, out=y)

        return brightness
    if name == "MixUp":

        def mix():
            w = rng.beta(0.2, 0.2, n).astype(np.float32)[lift]
            return w * x + (1 - w) * x[rng.permutation(n)]

        return mix
    if name == "GaussianNoise":
        return lambda: x + np.float32(0.1) * rng.standard_normal(x.shape, np.float32)
    return None


def in_keras(keras, name, x, options):
    layer = getattr(keras.layers, name)(**options)
    given = keras.ops.convert_to_tensor(x)
    call = (lambda: layer(given)) if name == "Resizing" else (lambda: layer(given, training=True))
    try:
        keras.ops.convert_to_numpy(call())
    except Exception as error:
        print(f"{name}: not with Keras: {type(error).__name__}")
        return None
    return lambda: keras.ops.convert_to_numpy(call())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", default="28x28x1,32x32x3")
    parser.add_argument("--keras", action="store_true", help="compare with Keras")
    parser.add_argument("names", nargs="*", help="only these layers")
    arguments = parser.parse_args()
    keras = None
    if arguments.keras:
        import keras
    fastnn.set_num_threads(1)
    for size in arguments.images.split(","):
        shape = (arguments.batch, *map(int, size.split("x")))
        x = np.random.default_rng(1).random(shape, np.float32)
        target = np.empty_like(x)
        print(f"{'x'.join(map(str, shape))}, 1 thread; ns an element (input)")
        print(f"{'layer':20} {'fastnn':>8} {'numpy':>8} {'keras':>8} {'copies':>8}")
        for name in arguments.names or LAYERS:
            options = options_of(name, shape)
            layer = getattr(layers, name)(**options)
            ours = partial(layer, x) if name == "Resizing" else partial(layer, x, training=True)
            others = [in_numpy(name, x, options), in_keras(keras, name, x, options) if keras else None]
            found = [partial(np.copyto, target, x), ours, *others]
            times = iter(least([f for f in found if f is not None]))
            copy, mine, *rest = (next(times) / x.size if f is not None else None for f in found)
            shown = " ".join(f"{t:8.3f}" if t is not None else f"{'':8}" for t in (mine, *rest))
            print(f"{name:20} {shown} {mine / copy:8.1f}", flush=True)


if __name__ == "__main__":
    main()
