"""Matrix products against NumPy, PyTorch, MKL, BLIS and libxsmm, on the machine's measured ceiling.

    python benchmarks/bench_matmul.py [--threads N] [--quick] [--only TEXT] [--float64]

Every library gets the same arrays and an output to write to; they take turns within each round, so a disturbance hits
all of them, and the best round of each counts. Peers that cannot be imported are left out; libxsmm, which has no
package, is taken from the path in LIBXSMM (of its libxsmm.so, version 2), with a kernel generated beforehand for each
shape, on one thread. "ratio" is the best peer's time over ours: above 1 we are faster.
"""

import argparse
import ctypes
import glob
import os
import sys


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer shapes, shorter rounds")
    parser.add_argument("--only", default="", help="shapes whose label contains this text")
    parser.add_argument("--float64", action="store_true")
    return parser.parse_args()


ARGS = parse()
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np  # noqa: E402

from fastnn import _core  # noqa: E402
from fastnn.benchmark import take_turns  # noqa: E402
from fastnn.kernels.products import matmul  # noqa: E402

NN, NT, TN = "NN", "NT", "TN"


def shapes():
    for n in (64, 128, 256, 512, 1024, 2048):
        for form in (NN, NT, TN):
            yield n, n, n, form
    for m, k, n in ((32, 784, 256), (128, 784, 256), (256, 784, 256), (1024, 784, 256), (128, 256, 128),
                    (128, 128, 10), (256, 2048, 2048), (25088, 25, 6), (3200, 150, 16), (32768, 27, 32),
                    (32768, 288, 32), (8192, 576, 64), (32, 13, 64), (32, 64, 64), (32, 64, 1), (4, 2, 16), (4, 16, 1),
                    (1, 784, 256), (1, 256, 128), (1, 10, 32), (1, 2048, 2048), (1024, 784, 1)):  # fmt: skip
        yield m, n, k, NN
        yield m, k, n, NT
        yield k, n, m, TN


QUICK = {
    (64, 64, 64), (256, 256, 256), (1024, 1024, 1024), (32, 256, 784), (32, 784, 256), (784, 256, 32), (128, 10, 128),
    (10, 128, 128), (128, 128, 10), (25088, 6, 25), (32768, 32, 288), (288, 32, 32768), (1, 256, 784), (4, 16, 2),
}  # fmt: skip


def peers(dtype):
    """name -> function(a, b, c, form) that makes a call without arguments."""
    found = {}

    def numpy_call(a, b, c, form):
        x, y = (a.T if form == TN else a), (b.T if form == NT else b)
        return lambda: np.matmul(x, y, out=c)

    found["numpy"] = numpy_call
    try:
        import torch

        torch.set_num_threads(ARGS.threads)

        def torch_call(a, b, c, form):
            x, y, z = (torch.from_numpy(v) for v in (a, b, c))
            x, y = (x.T if form == TN else x), (y.T if form == NT else y)
            return lambda: torch.mm(x, y, out=z)

        found["torch"] = torch_call
    except ImportError:
        pass
    libraries = glob.glob(os.path.join(sys.prefix, "lib", "libmkl_rt.so*"))
    if libraries:
        mkl = ctypes.CDLL(libraries[0], mode=ctypes.RTLD_GLOBAL)
        mkl.MKL_Set_Num_Threads(ARGS.threads)
        gemm = mkl.cblas_sgemm if dtype == np.float32 else mkl.cblas_dgemm
        real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        gemm.argtypes = [ctypes.c_int] * 6 + [
            real,
            *[ctypes.c_void_p, ctypes.c_int] * 2,
            real,
            ctypes.c_void_p,
            ctypes.c_int,
        ]
        gemm.restype = None

        def mkl_call(a, b, c, form):
            m, n = c.shape
            k = a.shape[0] if form == TN else a.shape[1]
            arguments = (101, 112 if form == TN else 111, 112 if form == NT else 111, m, n, k, 1.0, a.ctypes.data,
                         a.shape[1], b.ctypes.data, b.shape[1], 0.0, c.ctypes.data, n)  # fmt: skip
            return lambda: gemm(*arguments)

        found["mkl"] = mkl_call
    try:
        from blis.py import gemm as blis_gemm

        found["blis"] = lambda a, b, c, form: (
            lambda: blis_gemm(a, b, out=c, trans1=form == TN, trans2=form == NT, alpha=1.0, beta=0.0)
        )
    except ImportError:
        pass
    if os.environ.get("LIBXSMM") and ARGS.threads == 1:
        found["libxsmm"] = libxsmm_peer(os.environ["LIBXSMM"], dtype)
    return found


class GemmShape(ctypes.Structure):
    """libxsmm_gemm_shape: of products of column-major matrices."""

    _fields_ = [(name, ctypes.c_int) for name in
                ("m", "n", "k", "lda", "ldb", "ldc", "a_type", "b_type", "c_type", "sum_type")]  # fmt: skip


def libxsmm_peer(path, dtype):
    library = ctypes.CDLL(path)
    library.libxsmm_dispatch_gemm.argtypes = [GemmShape, ctypes.c_uint, ctypes.c_uint]
    library.libxsmm_dispatch_gemm.restype = ctypes.c_void_p
    element = 1 if dtype == np.float32 else 0
    beta_0, no_prefetch = 4, 0

    def make(a, b, c, form):
        # C^T = B^T A^T in column-major order: the operands change places. Kernels are not made for every shape, and
        # those that transpose do it on the stack.
        if form == NT and b.nbytes > 4 << 20:
            return None
        (m, n), k = c.shape, a.shape[0] if form == TN else a.shape[1]
        shape = GemmShape(n, m, k, b.shape[1], a.shape[1], n, element, element, element, element)
        flags = beta_0 | (1 if form == NT else 0) | (2 if form == TN else 0)
        address = library.libxsmm_dispatch_gemm(shape, flags, no_prefetch)
        if not address:
            return None
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        operands = (ctypes.c_void_p * 22)()  # libxsmm_gemm_param: 4 of the operation, 6 of each of a, b, c
        operands[4], operands[10], operands[16] = b.ctypes.data, a.ctypes.data, c.ctypes.data
        pointer = ctypes.addressof(operands)
        kernel(pointer)
        if not np.allclose(c, (a.T if form == TN else a) @ (b.T if form == NT else b), rtol=1e-3, atol=1e-2):
            sys.exit(f"libxsmm's product of {a.shape} and {b.shape} ({form}) is wrong")
        return lambda kept=operands: kernel(pointer)

    return make


def fma_ceiling(float64):
    """Operations a second of the hot multiply-add loop, on all threads."""
    width = _core.cpu()["vector_width"]["float64" if float64 else "float32"]
    chains = 24 if _core.isa() == "avx512" else 12
    rounds = 100_000
    sink = _core.empty((ARGS.threads * width,), np.float64 if float64 else np.float32)
    loop = {"loop": lambda: _core.run("measure_fma", float64, (sink,), (ARGS.threads, rounds), cost=1e9)}
    return 2 * width * chains * rounds * ARGS.threads / min(take_turns(loop, rounds=20, block=0)["loop"])


def aligned(rng, shape, dtype):
    x = _core.empty(shape, dtype)
    x[...] = rng.standard_normal(shape)
    return x


def main():
    dtype = np.dtype(np.float64 if ARGS.float64 else np.float32)
    _core.set_threads(ARGS.threads)
    rng = np.random.default_rng(0)
    calls = peers(dtype)
    ceiling = fma_ceiling(ARGS.float64)
    print(f"{_core.cpu()['name']}, {_core.isa()}, {dtype}, {ARGS.threads} thread(s), "
          f"ceiling {ceiling / 1e9:.1f} GFLOP/s; GFLOP/s of the best round")  # fmt: skip
    print(f"{'m,n,k (form)':>24} {'fastnn':>8} " + " ".join(f"{name:>8}" for name in calls) + f" {'ratio':>6} {'%':>5}")
    block, rounds = (0.002, 9) if ARGS.quick else (0.004, 15)
    done = set()
    for m, n, k, form in shapes():
        label = f"{m},{n},{k} ({form})"
        if label in done or ARGS.only not in label or (ARGS.quick and (m, n, k) not in QUICK):
            continue
        done.add(label)
        a = aligned(rng, (k, m) if form == TN else (m, k), dtype)
        b = aligned(rng, (n, k) if form == NT else (k, n), dtype)
        c = aligned(rng, (m, n), dtype)
        if form == NN:
            ours = lambda a=a, b=b, c=c: matmul(a, b, c)  # noqa: E731
        else:
            ours = lambda a=a, b=b, c=c, nt=form == NT: matmul(a, b, c, transpose_a=not nt, transpose_b=nt)  # noqa: E731
        all_calls = {"fastnn": ours, **{name: make(a, b, c, form) for name, make in calls.items()}}
        all_calls = {name: call for name, call in all_calls.items() if call}
        times = take_turns(all_calls, rounds=rounds if m * n * k < 1e9 else 5, block=block)
        rate = {name: 2 * m * n * k / min(found) / 1e9 for name, found in times.items()}
        ratio = rate["fastnn"] / max(rate.get(name, 0) for name in calls)
        print(f"{label:>24} {rate['fastnn']:8.1f} "
              + " ".join(f"{rate[name]:8.1f}" if name in rate else f"{'-':>8}" for name in calls)
              + f" {ratio:6.2f} {100e9 * rate['fastnn'] / ceiling:5.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
