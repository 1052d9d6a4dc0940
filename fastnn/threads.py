"""How many threads kernels use, and what they run on.

The first number comes from FASTNN_NUM_THREADS, else OMP_NUM_THREADS, else the processors this process may use
(affinity and container quota).
"""

import numpy as np

from fastnn import _core


def get_num_threads():
    """The most threads one operation or training step uses."""
    return _core.get_threads()


def set_num_threads(n):
    """Sets the most threads to use, 1 to 256. Results do not depend on it, bit by bit."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= _core.MAX_THREADS:
        raise ValueError(f"set_num_threads: n must be an integer from 1 to {_core.MAX_THREADS}, got {n!r}")
    _core.set_threads(int(n))


def runtime_info():
    """What a bug report begins with: version, instruction sets, threads, processor."""
    import platform

    import fastnn

    return {
        "fastnn": fastnn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "isa": _core.isa(),
        "isas": _core.isas(),
        "threads": _core.get_threads(),
        **_core.cpu(),
    }
