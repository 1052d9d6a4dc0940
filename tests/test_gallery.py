"""The gallery's page is in step with the examples, and its pictures are small; an example runs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "docs" / "gallery").is_dir(), reason="no docs beside the tests")


def maker():
    spec = importlib.util.spec_from_file_location("gallery_make", ROOT / "docs" / "gallery" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_shows_every_example():
    make = maker()
    shown = {name for names in make.TOPICS.values() for name in names}
    pictures = {path.stem for path in (ROOT / "docs" / "gallery").glob("*.png")}
    drawn = {path.stem for path in (ROOT / "examples").glob("*.py") if "= arguments(__doc__" in path.read_text()}
    assert shown == drawn | set(make.LARGE) == pictures
    by_week = {name for _, names in make.WEEKS for name in names}
    also = {name for names in make.ALSO.values() for name in names}
    assert by_week == shown and set(make.ALSO) <= {subject for subject, _ in make.WEEKS}
    others = {path.stem for path in (ROOT / "examples").glob("*.py")} - shown - also
    assert others == {"_common", "_pictures"}
    assert (ROOT / "docs" / "gallery.md").read_text() == make.page()  # python docs/gallery/make.py --page
    assert all(p.stat().st_size < make.MOST_BYTES for p in (ROOT / "docs" / "gallery").glob("*.png"))


def example(name, *arguments, folder, **environment):
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    environment = {**os.environ, "PYTHONSAFEPATH": "", **environment}  # scripts import what lies beside them
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_an_example_runs(tmp_path, kind):
    pytest.importorskip("matplotlib")
    done = example("perceptron", "--quick", "--output", f"p.{kind}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"p.{kind}").stat().st_size > 2000


@pytest.mark.parametrize("name", ["lenet5", "attention", "resnet20", "word_vectors", "forecasting", "surnames",
                                  "generate_text"])  # fmt: skip
def test_without_files_examples_end_with_a_message(tmp_path, name):
    if name == "attention":
        pytest.importorskip("matplotlib")
    nowhere = {"FASTNN_DATA": str(tmp_path), "FASTNN_CACHE": str(tmp_path), "FASTNN_QUICK": ""}
    nowhere.update(dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9"), no_proxy="")  # no network
    done = example(name, folder=tmp_path, **nowhere)
    assert done.returncode == 2 and done.stderr.startswith(f"{name}.py: ") and "--quick" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["perceptron", "lenet5", "resnet20", "word_vectors"])
@pytest.mark.parametrize(
    ("output", "message"),
    [("nowhere/x.png", "there is no folder nowhere"), (".", ". is a folder"), ("x.txt", "x.txt must end in one of")],
)
def test_output_is_checked_before_the_work(tmp_path, name, output, message):
    done = example(name, "--quick", "--output", output, folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_quick_word_vectors_are_not_compared(tmp_path):
    (tmp_path / "wordsim").mkdir()
    (tmp_path / "wordsim" / "wordsim353.tsv").write_text("king\tqueen\t8.6\nsea\tship\t7.0\n")
    done = example("word_vectors", "--quick", folder=tmp_path, FASTNN_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("WordSim-353") == 1 and "pairs have vectors" not in done.stdout
