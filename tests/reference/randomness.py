"""Random numbers: Philox4x32, see csrc/kernels/random.h."""

import numpy as np

from .registry import kernel


def philox(seed, index, stream, groups, rounds):
    """(groups, 32 words of 32 bits), in the order of a group's memory."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    number = (np.asarray(groups, np.uint64)[:, None] * np.uint64(8) + np.arange(8, dtype=np.uint64)).ravel()
    c0, c1 = number & low, number >> half
    c2 = np.full_like(c0, index & 0xFFFFFFFF)
    c3 = np.full_like(c0, stream & 0xFFFFFFFF)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    shape = (len(groups), 8)
    row0 = np.stack([c1.reshape(shape), c0.reshape(shape)], axis=-1).reshape(len(groups), 16)
    row1 = np.stack([c3.reshape(shape), c2.reshape(shape)], axis=-1).reshape(len(groups), 16)
    return np.concatenate([row0, row1], axis=1).astype(np.uint32)


def dropout_mask(seed, index, stream, count, rate):
    """1 where an element is kept."""
    words = philox(seed, index, stream, np.arange(-(-count // 64)), 7).reshape(-1, 2, 1, 16)
    bits = np.concatenate([words & 0xFFFF, words >> 16], axis=2).reshape(-1)[:count]
    cut = int(rate * 65536 + 0.5)
    return bits >= min(cut, 0xFFFF)


@kernel("dropout", "dropout_grad")
def dropout(c):
    x = c.matrix(1)
    rate = c.f[0]
    keep = dropout_mask(c.step.seed, c.step.index, c.i[2], x.size, rate).reshape(x.shape)
    y = np.where(keep, x / (1 - rate) if rate < 1 else 0, 0)
    c.put(0, y + c.matrix(0) if c.int(3) else y)


def normal_numbers(seed, index, stream, count, float64):
    if float64:
        words = philox(seed, index, stream, np.arange(-(-count // 16)), 10)
        lanes = np.ascontiguousarray(words).view(np.uint64).reshape(-1, 2, 8)
        u, w = np.moveaxis((lanes >> np.uint64(11)) * 2.0**-53, 1, 0)
    else:
        words = philox(seed, index, stream, np.arange(-(-count // 32)), 10).reshape(-1, 2, 16)
        u, w = np.moveaxis((words >> 8) * 2.0**-24, 1, 0)
    radius = np.sqrt(-2 * np.log(1 - u))
    parts = [radius * np.cos(2 * np.pi * w), radius * np.sin(2 * np.pi * w)]
    return np.stack(parts, axis=1).reshape(-1)[:count]


@kernel("gaussian_noise")
def gaussian_noise(c):
    x = c.matrix(1)
    z = normal_numbers(c.step.seed, c.step.index, c.i[2], x.size, c.step.float64)
    c.put(0, x + c.f[0] * z.reshape(x.shape))
