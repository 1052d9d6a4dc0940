"""Random numbers bit by bit against a NumPy Philox4x32, that one against its authors' known answers; distributions."""

import numpy as np
import pytest

from fastnn import _core, kernels

SEED, STREAM, INDEX = 0x0123456789ABCDEF, 7, 41


def philox(counter, key, rounds):
    """Philox4x32 of counters (n, 4) and a key (2,): n x 4 words."""
    c = [counter[:, k].astype(np.uint64) for k in range(4)]
    k0, k1 = (np.uint64(k) for k in key)
    low = np.uint64(0xFFFFFFFF)
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & low]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack(c, 1).astype(np.uint32)


def groups(count, rounds, first=0):
    """(count, 2, 16) words: groups of 8 draws in the order of csrc/kernels/random.h."""
    draws = np.arange(8 * first, 8 * (first + count), dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    counter = np.stack([draws & low, draws >> np.uint64(32), draws * 0 + INDEX, draws * 0 + STREAM], 1)
    words = philox(counter, (SEED & 0xFFFFFFFF, SEED >> 32), rounds).reshape(count, 8, 4)
    rows = [words[:, :, [1, 0]], words[:, :, [3, 2]]]  # the low half of a lane stands first
    return np.stack([r.reshape(count, 16) for r in rows], 1)


def mask_bits(positions):
    words = groups(positions // 64 + 1, 7)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], 2)  # (group, row, half, 16)
    return halves.reshape(-1)[:positions]


def test_reference_gives_the_known_answers():
    """kat_vectors of Random123, philox4x32 with 10 and 7 rounds."""
    ones, pi = [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    cases = [
        (10, [0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (10, ones, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (10, pi, (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
        (7, [0] * 4, (0, 0), "5f6fb709 0d893f64 4f121f81 4f730a48"),
        (7, ones, (0xFFFFFFFF, 0xFFFFFFFF), "5207ddc2 45165e59 4d8ee751 8c52f662"),
    ]
    for rounds, counter, key, expected in cases:
        words = philox(np.array([counter], np.uint64), key, rounds)[0]
        assert " ".join(f"{w:08x}" for w in words) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_mask_bit_by_bit(rate, dtype):
    for n in (0, 1, 63, 64, 65, 1000):
        x = np.random.default_rng(n).normal(size=n).astype(dtype) + 3
        keep = mask_bits(n) >= round(rate * 65536)
        scale = dtype(1 / (1 - rate)) if rate < 1 else dtype(0)
        y = kernels.dropout(x, rate, seed=SEED, stream=STREAM, index=INDEX)
        np.testing.assert_array_equal(y, np.where(keep, x * scale, 0))
        total = np.ones_like(x)
        kernels.dropout_grad(x, rate, seed=SEED, stream=STREAM, index=INDEX, out=total, accumulate=True)
        np.testing.assert_allclose(total, 1 + y, rtol=1e-6)


def test_mask_depends_on_seed_stream_and_index():
    x, given = np.ones(4096, np.float32), {"seed": 1, "stream": 2, "index": 3}
    y = kernels.dropout(x, 0.5, **given)
    np.testing.assert_array_equal(y, kernels.dropout(x, 0.5, **given))
    for name in given:
        other = kernels.dropout(x, 0.5, **{**given, name: given[name] + 1})
        assert 0.45 < np.mean(other == y) < 0.55


def test_spatial_dropout():
    x = np.random.default_rng(1).normal(size=(5, 3, 4, 70)).astype(np.float32)
    y = kernels.dropout_rows(x, 0.3, seed=SEED, stream=STREAM, index=INDEX)
    keep = (mask_bits(350) >= round(0.3 * 65536)).reshape(5, 1, 1, 70)
    np.testing.assert_array_equal(y, np.where(keep, x * np.float32(1 / 0.7), 0))
    dx = kernels.dropout_rows_grad(x, 0.3, seed=SEED, stream=STREAM, index=INDEX)
    np.testing.assert_array_equal(dx, y)


def test_uniform_bit_by_bit():
    for n in (0, 1, 31, 32, 33, 1000):
        given = {"seed": SEED, "stream": STREAM, "index": INDEX}
        words = groups(n // 32 + 1, 10)
        y = kernels.random_uniform(n, **given)
        np.testing.assert_array_equal(y, (words.reshape(-1)[:n] >> np.uint32(8)) * np.float32(2**-24))
        lanes = np.ascontiguousarray(groups(n // 16 + 1, 10)).view(np.uint64).reshape(-1)[:n]
        y = kernels.random_uniform(n, dtype=np.float64, **given)
        np.testing.assert_array_equal(y, (lanes >> np.uint64(11)) * 2.0**-53)


def test_uniform_stays_below_its_end():
    """Near 100 float32 has 2^17 numbers for each whole one: sums round up to it now and then."""
    y = kernels.random_uniform(1 << 21, 100, 101, seed=3)
    assert y.min() == 100 and y.max() == np.nextafter(np.float32(101), np.float32(100))
    y = kernels.random_uniform(1 << 21, 101, 100, seed=3)
    assert y.min() > 100 and y.max() == 101
    assert (kernels.random_uniform(9, 5, 5, seed=3) == 5).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(dtype):
    """A million numbers: means and deviations within 5 standard errors."""
    n = 1_000_000
    given = {"seed": 3, "stream": 1, "dtype": dtype}
    x = kernels.random_normal(n, 1.5, 2.0, **given).astype(np.float64)
    assert abs(x.mean() - 1.5) < 5 * 2 / 1000 and abs(x.std() - 2) < 5 * 2 / 1400
    z = (x - 1.5) / 2
    assert abs((z**3).mean()) < 5 * 15**0.5 / 1000 and abs((z**4).mean() - 3) < 5 * 96**0.5 / 1000
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5e-3
    t = kernels.random_truncated_normal(n, **given).astype(np.float64)
    assert np.abs(t).max() <= 2 and abs(t.mean()) < 5e-3 and abs(t.std() - 0.8796256610342398) < 4e-3
    u = kernels.random_uniform(n, -1.0, 3.0, **given)
    assert u.min() >= -1 and u.max() <= 3 and abs(u.astype(float).mean() - 1) < 6e-3
    b = kernels.random_bernoulli(n, 0.2, **given)
    assert set(np.unique(b)) == {0, 1} and abs(b.mean(dtype=float) - 0.2) < 2e-3
    noise = kernels.gaussian_noise(np.ones(n, dtype), 0.5, seed=3, stream=1)
    assert abs(noise.std(dtype=float) - 0.5) < 2e-3


def test_same_bits_for_any_number_of_threads():
    x, results = np.ones(300_001, np.float32), []
    before = _core.get_threads()
    try:
        for threads in (1, 2, 3, 8):
            _core.set_threads(threads)
            parts = [
                kernels.dropout(x, 0.4, seed=5),
                kernels.random_normal(100_003, seed=5),
                kernels.random_truncated_normal(100_003, seed=5),
            ]
            results.append(b"".join(p.tobytes() for p in parts))
    finally:
        _core.set_threads(before)
    assert len(set(results)) == 1


def test_wrong_arguments_are_refused():
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"dropout: rate must be in \[0, 1\], got 1.5"):
        kernels.dropout(x, 1.5, seed=1)
    with pytest.raises(ValueError, match=r"seed must be an integer within \[0, 2\*\*64\)"):
        kernels.dropout(x, 0.5, seed=-1)
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        kernels.random_normal(3, seed=1, dtype=np.float16)
