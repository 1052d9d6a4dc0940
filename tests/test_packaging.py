"""The package as it is installed: quick to import, quiet, nothing exported by accident."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import _core

ROOT = Path(fastnn.__file__).resolve().parent
SOURCES = ROOT.parent / "csrc"
LINUX = sys.platform == "linux"


def python(code, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True,
                          env=dict(os.environ))  # fmt: skip
    return done.stdout.strip()


def test_import_is_quick():
    """`import fastnn` adds less than 30 ms to `import numpy` (the best of several, for a busy machine)."""
    code = "import time; import numpy; a = time.perf_counter(); import fastnn; print(time.perf_counter() - a)"
    assert min(float(python(code)) for _ in range(5)) < 0.03


def test_import_brings_in_nothing_heavy():
    heavy = ("scipy", "pandas", "matplotlib", "tensorflow", "keras", "torch", "multiprocessing", "asyncio", "sqlite3")
    code = "import sys, fastnn; import fastnn.models, fastnn.layers; print(*sys.modules)"
    loaded = set(python(code).split())
    assert not loaded & set(heavy)


def test_import_starts_no_thread():
    code = "import fastnn, fastnn._core, os; print(len(os.listdir('/proc/self/task')))"
    if LINUX:
        base = python("import numpy, os; print(len(os.listdir('/proc/self/task')))")
        assert python(code) == base


def test_denormals_of_numpy_are_left_alone():
    """Kernels flush subnormal numbers to zero; NumPy, before and after, does not."""
    tiny = np.float32(1e-40)
    assert tiny * np.float32(0.5) > 0
    x = np.full((512, 512), tiny)
    for n in (1, 2):
        fastnn.set_num_threads(n)
        fastnn.ops.matmul(x, x)
        fastnn.ops.exp(x)
        assert (np.array([tiny]) * np.float32(0.5))[0] > 0
    code = "import numpy as np, fastnn._core; print(np.float32(1e-40) * np.float32(0.5) > 0)"
    assert python(code, "-W", "error") == "True"


def test_warnings_of_numpy_are_left_alone():
    assert python("import warnings, fastnn, fastnn.models; print(len(warnings.filters))", "-W", "error") == python(
        "import warnings, numpy; print(len(warnings.filters))", "-W", "error"
    )


def test_public_names():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = fastnn.nothing_like_it
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fastnn.__version__)


@pytest.mark.parametrize("module", ["layers", "losses", "metrics", "ops", "optimizers", "callbacks", "saving", "utils",
                                    "datasets", "initializers", "activations"])  # fmt: skip
def test_public_names_of_modules(module):
    found = importlib.import_module(f"fastnn.{module}")
    for name in getattr(found, "__all__", ()):
        assert hasattr(found, name), f"{module}.__all__ names {name}, which is not there"


def modules():
    for info in pkgutil.walk_packages([str(ROOT)], "fastnn."):
        yield info.name


@pytest.mark.parametrize("name", [n for n in modules() if not n.endswith(("._core", ".__main__"))])
def test_modules_import_and_say_what_they_are(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"


def test_public_classes_and_functions_have_docstrings():
    missing = []
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None and isinstance(node, ast.ClassDef):
                    missing.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not missing, missing


def test_only_callbacks_and_the_command_line_print():
    for path in ROOT.rglob("*.py"):
        if path.name in ("__main__.py", "benchmark.py") or path.parent.name == "callbacks":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), path


# ---- the extension ----


def tool(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not LINUX, reason="ldd is of Linux")
def test_no_openmp_and_no_blas():
    needed = tool("ldd", _core.__file__)
    for library in ("gomp", "iomp", "libomp", "blas", "mkl", "stdc++", "gfortran"):
        assert library not in needed


@pytest.mark.skipif(not LINUX, reason="nm of ELF files")
def test_the_extension_exports_its_init_alone():
    defined = tool("nm", "-D", "--defined-only", _core.__file__).split("\n")
    names = {line.split()[-1] for line in defined if line.strip()}
    assert names - {"_init", "_fini"} <= {"PyInit__core"} | {n for n in names if n.startswith("__asan")}


@pytest.mark.skipif(not LINUX, reason="nm of ELF files")
def test_archives_export_one_table_each():
    """Code compiled for a faster instruction set must not be picked up by the linker for a slower one."""
    archives = sorted((ROOT.parent / "build").glob("temp.*/libfastnn_*.a"))
    if not archives:
        pytest.skip("not built here")
    for archive in archives:
        isa, dtype = re.fullmatch(r"libfastnn_(\w+)_(f\d\d)\.a", archive.name).groups()
        lines = tool("nm", "--defined-only", "--extern-only", str(archive)).split("\n")
        names = {line.split()[-1] for line in lines if len(line.split()) == 3}
        assert names == {f"fn_table_{isa}_{dtype}"}


def test_tables_are_alike():
    """Kernels have the same numbers in every table: their names are in the one order of the list."""
    assert len(_core.KERNELS) == len(set(_core.KERNELS.values()))
    assert sorted(_core.KERNELS.values()) == list(range(len(_core.KERNELS)))


# ---- the sources ----


def code_of(path):
    """C source without comments and strings."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    return re.sub(r'"(\\.|[^"\\])*"', '""', text)


@pytest.mark.skipif(not SOURCES.is_dir(), reason="no sources beside the package")
def test_kernels_neither_allocate_nor_print_nor_stop():
    forbidden = r"\b(malloc|calloc|realloc|free|alloca|printf|fprintf|puts|abort|exit|assert|pthread_\w+|getenv)\s*\("
    for path in (SOURCES / "kernels").iterdir():
        found = re.search(forbidden, code_of(path))
        assert found is None, f"{path.name}: {found.group()}"


@pytest.mark.skipif(not SOURCES.is_dir(), reason="no sources beside the package")
def test_nothing_in_c_stops_the_process():
    for path in SOURCES.rglob("*.[ch]"):
        found = re.search(r"\b(abort|exit|assert|printf|fprintf|puts)\s*\(", code_of(path))
        assert found is None, f"{path.name}: {found.group()}"


@pytest.mark.skipif(not SOURCES.is_dir(), reason="no sources beside the package")
def test_sources_are_ascii():
    for path in [*SOURCES.rglob("*.[ch]"), *ROOT.rglob("*.py"), *ROOT.rglob("*.pyx")]:
        if path.name == "_core.c":
            continue
        assert path.read_bytes().isascii(), path


@pytest.mark.skipif(not (ROOT.parent / "MANIFEST.in").exists(), reason="no checkout around the package")
def test_patterns_of_files_find_some():
    """A pattern without a file makes the build warn."""
    import tomllib

    for line in (ROOT.parent / "MANIFEST.in").read_text().splitlines():
        command, *words = line.split()
        folder, patterns = (words[0], words[1:]) if command == "recursive-include" else (".", words)
        if command in ("recursive-include", "include"):
            for pattern in patterns:
                assert any((ROOT.parent / folder).rglob(pattern)), f"{line}: {pattern}"
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, patterns in settings["package-data"].items():
        for pattern in patterns:
            assert any((ROOT.parent / package.replace(".", "/")).glob(pattern)), f"{package}: {pattern}"


def test_data_files_are_installed():
    assert (ROOT / "py.typed").exists() and (ROOT / "datasets" / "digits.npz").exists()
