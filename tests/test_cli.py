"""The command line, run in this process: results, files, and one line for each mistake."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn.__main__ import main
from fastnn.saving import save_state


def run(capsys, *arguments):
    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "--data", "nope"], "--data nope: unknown data set; expected digits, mnist"),
        (["train", "--data", "nope.csv"], "--data nope.csv: there is no such file"),
        (["train", "--model", "64-x"], "--model must be hidden sizes"),
        (["train", "--model", "0"], "--model must be hidden sizes"),
        (["train", "--epochs", "0"], "--epochs: must be a whole number from 1 to 2147483647, got '0'"),
        (["train", "--epochs", "x"], "--epochs: must be a whole number from 1"),
        (["train", "--learning-rate", "0"], "--learning-rate must be greater than 0"),
        (["train", "--learning-rate", "-1"], "--learning-rate: must be a number from 0 on"),
        (["train", "--learning-rate", "x"], "--learning-rate: must be a number from 0 on, got 'x'"),
        (["train", "--dropout", "1"], "--dropout must be in [0, 1), got 1"),
        (["train", "--seed", "-1"], "--seed must not be negative"),
        (["inspect", "nope"], "there is no file nope"),
        (["bench", "--only", "nothing like it"], "no case has"),
        (["bench", "--peers", "abacus"], "unknown peers abacus"),
        (["dance"], "invalid choice"),
    ],
)
def test_mistakes(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err and err.count("\n") == 1


def test_broken_table(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("a,b,k\n1,2,x\n1,oops,y\n")
    code, _, err = run(capsys, "train", "--data", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out"))
    assert code == 2 and "line 3, column 1 (b): 'oops' is not a number" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_info(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    for word in (fastnn.__version__, "instruction set", "threads", "processor", "caches", "compiler"):
        assert word in out


def test_inspect(capsys, tmp_path):
    path = tmp_path / "a.safetensors"
    save_state(path, {"weights/k": np.zeros((2, 3), np.float32)}, {"epoch": 3})
    code, out, _ = run(capsys, "inspect", str(path))
    assert code == 0 and "weights/k  F32       (2, 3)" in out and "parameters: 6" in out and "also holds: epoch" in out
    path.write_bytes(b"damaged")
    code, _, err = run(capsys, "inspect", str(path))
    assert code == 2 and "not a valid safetensors file" in err


def test_train_digits(capsys, tmp_path):
    code, out, err = run(capsys, "train", "--quiet", "--output", str(tmp_path))
    assert (code, err) == (0, "")
    assert out.startswith("test accuracy: ") and float(out.split()[2]) >= 97.0
    model = fastnn.models.load_model(tmp_path / "model.safetensors")
    _, (x, y) = fastnn.datasets.digits.load_data()
    accuracy = np.mean(model.predict(x.astype(np.float32), verbose=0).argmax(axis=1) == y)  # raw pixels
    assert accuracy == pytest.approx(float(out.split()[2]) / 100, abs=1e-4)
    assert "model.safetensors" in os.listdir(tmp_path)


def test_train_is_reproducible(capsys, tmp_path):
    files = []
    for threads in ("1", "2"):
        folder = tmp_path / threads
        arguments = ["--epochs", "2", "--dropout", "0.2", "--threads", threads, "--output", str(folder), "--quiet"]
        assert run(capsys, "train", *arguments)[0] == 0
        files.append((folder / "model.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_regression(capsys, tmp_path, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(5, [1, 100, 0.01], (300, 3))
    y = 1e5 + 2e4 * (x[:, 0] - 5) + 1e2 * (x[:, 1] - 5)
    np.savetxt(tmp_path / "a.csv", np.column_stack([x, y]), "%.9g", ",", header="a,b,c,price", comments="")
    arguments = ["--data", str(tmp_path / "a.csv"), "--model", "linear", "--learning-rate", "0.02", "--dtype", dtype]
    code, out, err = run(capsys, "train", *arguments, "--epochs", "60", "--quiet", "--output", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    assert float(out.split()[2]) < 500  # the target's standard deviation is 22,000


def test_train_npz(capsys, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = np.where(x[:, 0] > 0, 7, 3)
    np.savez(tmp_path / "a.npz", x_train=x[:150], y_train=y[:150], x_test=x[150:], y_test=y[150:])
    arguments = ["--data", str(tmp_path / "a.npz"), "--model", "8", "--learning-rate", "0.01", "--patience", "5"]
    code, out, err = run(capsys, "train", *arguments, "--output", str(tmp_path / "out"), "--optimizer", "rmsprop")
    assert (code, err) == (0, "")
    assert "150 training and 50 test samples" in out and float(out.rsplit(maxsplit=2)[-2]) >= 90.0


ONE_HOT = np.eye(3)[np.arange(60) % 3]


@pytest.mark.parametrize(
    "labels", [ONE_HOT, ONE_HOT.astype(bool), np.array(["a", "b", "c"])[np.arange(60) % 3], np.arange(60)[:, None] % 3]
)
def test_train_npz_labels(capsys, tmp_path, labels):
    """One-hot rows, text and columns are classes too."""
    x = np.random.default_rng(0).normal(size=(60, 4)) + 3 * ONE_HOT @ np.eye(3, 4)
    np.savez(tmp_path / "a.npz", x=x, y=labels)
    arguments = ["--data", str(tmp_path / "a.npz"), "--task", "auto" if labels.dtype.kind != "f" else "classification"]
    code, out, err = run(capsys, "train", *arguments, "--model", "linear", "--learning-rate", "0.1", "--output",
                         str(tmp_path / "out"))  # fmt: skip
    assert (code, err) == (0, "")
    assert "3 classes" in out and float(out.rsplit(maxsplit=2)[-2]) >= 75.0


@pytest.mark.parametrize(
    "arrays, message",
    [
        (dict(x=np.ones((4, 2)), y=np.ones((4, 2), int)), "labels must be one a sample, or one-hot rows"),
        (dict(x=np.ones((4, 2)), y=np.full((4, 2), "a")), "labels must be one a sample"),
        (dict(x=np.ones((0, 2)), y=np.ones(0, int)), "x has no samples"),
        (dict(x=np.array([[1, 2], [1, np.nan]]), y=np.arange(2)), "x must be finite, sample 1 is not"),
        (dict(x=np.ones((2, 2)), y=np.array([1, np.nan])), "the values to predict must be finite"),
        (
            dict(x_train=np.ones((4, 2)), y_train=np.arange(4), x_test=np.ones((4, 3)), y_test=np.arange(4)),
            "samples of x_test have shape (3,), of x_train (2,)",
        ),
        (dict(x=np.ones((2, 2)), y=np.array([1, None], object)), "y holds Python objects"),
    ],
)
def test_broken_npz(capsys, tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    code, _, err = run(capsys, "train", "--data", str(tmp_path / "a.npz"), "--output", str(tmp_path / "out"))
    assert code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_broken_output(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "learning_curve.png").mkdir(parents=True)
    (tmp_path / "text.npz").write_text("x,y\n1,2\n")
    for arguments, message in (
        (["--output", str(tmp_path / "file")], "is not a folder"),
        (["--output", str(tmp_path / "out")], "learning_curve.png is a folder"),
        (["--data", str(tmp_path / "text.npz")], "it is not a whole archive of arrays"),
    ):
        code, _, err = run(capsys, "train", *arguments)
        assert code == 2 and message in err and err.count("\n") == 1


def test_bench(capsys):
    code, out, _ = run(capsys, "bench", "--only", "matmul 128", "--rounds", "1", "--peers", "numpy", "--threads", "1")
    assert code == 0
    rows = [line for line in out.splitlines() if line.startswith("matmul 128")]
    assert rows and all(len(row.split()) >= 4 for row in rows)


@pytest.mark.parametrize("name, value", [("FASTNN_ISA", "sse9"), ("FASTNN_NUM_THREADS", "many")])
def test_wrong_environment_is_one_line(name, value):
    done = subprocess.run([sys.executable, "-m", "fastnn", "info"], capture_output=True, text=True,
                          env={**os.environ, name: value})  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and name in done.stderr and value in done.stderr
