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
    drawn = {path.stem for path in (ROOT / "examples").glob("*.py") if "from _common import" in path.read_text()}
    assert shown == drawn | set(make.LARGE) == pictures
    by_week = {name for _, names in make.WEEKS for name in names}
    also = {name for names in make.ALSO.values() for name in names}
    assert by_week == shown and set(make.ALSO) <= {subject for subject, _ in make.WEEKS}
    others = {path.stem for path in (ROOT / "examples").glob("*.py")} - shown - also
    assert others == {"_common", "pictures"}
    assert (ROOT / "docs" / "gallery.md").read_text() == make.page()  # python docs/gallery/make.py --page
    assert all(p.stat().st_size < make.MOST_BYTES for p in (ROOT / "docs" / "gallery").glob("*.png"))


def test_an_example_runs(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, str(ROOT / "examples" / "perceptron.py"), "--quick", "--output", str(tmp_path / "p.png")]
    environment = {**os.environ, "PYTHONSAFEPATH": ""}  # scripts import what lies beside them
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert (tmp_path / "p.png").stat().st_size > 2000
