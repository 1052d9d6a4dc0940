"""The global seed: where initializers, shuffling, dropout and augmentation take their seeds from.

    seed of draw n = mix(key + n * 0x9E3779B97F4A7C15)          (SplitMix64; Steele, Lea and Flood, 2014)

A draw is a function of the key and of how many draws came before, so the whole state is two integers, which can be
saved and put back (`get_state`, `set_state`): a resumed training then continues with the seeds it would have had.
Without `set_random_seed` the key comes from the operating system.
"""

import operator
import os
import threading

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(x):
    """SplitMix64's finalizer: a bijection on 64-bit integers that spreads every input bit over the output."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class SeedGenerator:
    """A stream of 64-bit seeds. `seed` None takes one from the global stream.

    Safe to use from several threads at a time; can be pickled and copied.
    """

    def __init__(self, seed=None, name=None):
        self.name = name or "seed_generator"
        self._lock = threading.Lock()
        self._key = next_seed() if seed is None else check_seed("SeedGenerator", seed)
        self._initial = seed
        self._count = 0

    def next(self):
        """The next seed, in [0, 2**64)."""
        with self._lock:
            self._count += 1
            return mix(self._key + self._count * GOLDEN)

    def get_state(self):
        """[key, number of draws so far]: plain integers, fit for JSON."""
        with self._lock:
            return [self._key, self._count]

    def set_state(self, state):
        """Continues from what `get_state` gave."""
        try:
            key, count = (operator.index(value) for value in state)
        except (TypeError, ValueError):
            raise ValueError(f"set_state: expected two integers from get_state(), got {state!r}") from None
        if not (0 <= key <= MASK and count >= 0):
            raise ValueError(f"set_state: expected two integers from get_state(), got {state!r}")
        with self._lock:
            self._key, self._count = key, count

    def get_config(self):
        return {"seed": self._initial, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __getstate__(self):
        return {"name": self.name, "initial": self._initial, "state": self.get_state()}

    def __setstate__(self, state):
        self.name, self._initial = state["name"], state["initial"]
        self._lock = threading.Lock()
        self.set_state(state["state"])


def check_seed(where, seed):
    """`seed` as an integer in [0, 2**64)."""
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"{where}: seed must be an integer, got {type(seed).__name__}") from None
    if isinstance(seed, bool) or not 0 <= value <= MASK:
        raise ValueError(f"{where}: seed must be in [0, 2**64), got {seed!r}")
    return value


_global = SeedGenerator(int.from_bytes(os.urandom(8), "little"))


def next_seed():
    """The next seed of the global stream: an integer in [0, 2**64)."""
    return _global.next()


def get_state():
    """State of the global stream, fit for JSON."""
    return _global.get_state()


def set_state(state):
    """Puts the global stream back to where `get_state` was called."""
    _global.set_state(state)


def set_random_seed(seed):
    """Starts the global stream of seeds anew, and seeds Python's `random` and `numpy.random` with the same number.

    From here on a program draws the same initial weights, orders and dropout masks on every run, whatever the number
    of threads.
    """
    import random  # here, for with NumPy's it takes a third of the time of `import fastnn`

    import numpy as np

    seed = check_seed("set_random_seed", seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    _global.set_state([mix(seed), 0])
