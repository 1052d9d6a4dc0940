"""What pyproject.toml cannot say: one static library of kernels per instruction set, one extension.

Environment variables of the build:
  FASTNN_BUILD_ISA   comma-separated levels to compile (default: all this compiler knows): base,avx2,avx512
  FASTNN_SANITIZE    e.g. "address,undefined" or "thread": compile everything with these sanitizers
  FASTNN_EMULATE_TILES  1: tiles (AMX) by plain C, to test what uses them on a processor with AVX512_BF16 but no tiles
"""

import glob
import os
import platform
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

CFLAGS = [
    "-std=gnu11", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-lto", "-pthread",
]  # fmt: skip
SANITIZE = os.environ.get("FASTNN_SANITIZE", "")
if SANITIZE:
    CFLAGS += ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}"]
if os.environ.get("FASTNN_EMULATE_TILES") == "1":
    CFLAGS.append("-DFN_EMULATE_TILES")
# No tables for unwinding through kernels, which call nothing that could want it: they are 3 % of the wheel.
KERNEL_FLAGS = [] if SANITIZE else ["-fno-asynchronous-unwind-tables"]
LDFLAGS = ["-pthread"] + ([f"-fsanitize={SANITIZE}"] if SANITIZE else [])

ISA_FLAGS = {
    "x86_64": {
        "base": ["-march=x86-64"],
        "avx2": ["-march=x86-64-v3", "-mtune=skylake"],
        "avx512": ["-march=x86-64-v4", "-mtune=skylake-avx512", "-mprefer-vector-width=512"],
    },
    "aarch64": {"base": ["-march=armv8-a"]},
    "arm64": {"base": []},
}
#: Where less code matters more than the last percent: x86-64 machines of before 2013, and float64 of all of them. Where
#: both meet, code of four fifths the size takes 1.3 times as long.
SMALL = {("base", "f32"): ["-O2"], ("base", "f64"): ["-Os"], ("avx2", "f64"): ["-O2"], ("avx512", "f64"): ["-O2"]}
if SANITIZE or platform.machine() != "x86_64":
    SMALL = {}
HEADERS = sorted(glob.glob("csrc/**/*.h", recursive=True) + glob.glob("csrc/**/*.inc.c", recursive=True))


def compiler_knows(flags):
    """Whether the C compiler takes these flags (an old one may not know x86-64-v4)."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.c")
        with open(source, "w") as f:
            f.write("int probe(void) { return 0; }\n")
        command = [*os.environ.get("CC", "cc").split(), *flags, "-c", source, "-o", os.path.join(folder, "probe.o")]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return True  # let the build itself say what is wrong with the compiler


def levels():
    flags = ISA_FLAGS.get(platform.machine(), {"base": []})
    asked = [name for name in os.environ.get("FASTNN_BUILD_ISA", "").split(",") if name]
    unknown = set(asked) - set(flags)
    if unknown:
        raise SystemExit(f"FASTNN_BUILD_ISA: unknown level {sorted(unknown)}; this machine knows {list(flags)}")
    chosen = {name: f for name, f in flags.items() if name == "base" or not asked or name in asked}
    for name in [name for name, f in chosen.items() if not compiler_knows(f)]:
        print(f"fastnn: the compiler does not know {chosen[name]}: instruction set {name} is left out")
        del chosen[name]
    return chosen


ISAS = levels()
LIBRARIES = [
    (
        f"fastnn_{isa}_{dtype}",
        {
            "sources": [f"csrc/kernels/isa_{isa}_{dtype}.c"],
            "cflags": CFLAGS + KERNEL_FLAGS + flags + SMALL.get((isa, dtype), []),
            "include_dirs": ["csrc/kernels"],
            "obj_deps": {"": HEADERS},
        },
    )
    for isa, flags in ISAS.items()
    for dtype in ("f32", "f64")
]


class build_clib_parallel(build_clib):
    """The libraries are independent of each other: compile them side by side."""

    def build_libraries(self, libraries):
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(super(build_clib_parallel, self).build_libraries, [lib]) for lib in libraries]:
                done.result()


class build_ext_after_clib(build_ext):
    """`build_ext` alone (editable installs, --inplace) would not build the libraries it links."""

    def run(self):
        self.run_command("build_clib")
        super().run()


core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx", *sorted(glob.glob("csrc/*.c"))],
    include_dirs=["csrc", numpy.get_include()],
    depends=[*HEADERS, *(source for _, lib in LIBRARIES for source in lib["sources"])],
    extra_compile_args=CFLAGS,
    extra_link_args=LDFLAGS,
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
    + [(f"FN_HAVE_{isa.upper()}", None) for isa in ISAS if isa != "base"],
)

setup(
    libraries=LIBRARIES,
    ext_modules=cythonize([core], compiler_directives={"language_level": 3}),
    cmdclass={"build_clib": build_clib_parallel, "build_ext": build_ext_after_clib},
)
