"""Data sets: formats, damaged files, where files are looked for, CSV and NPZ tables."""

import gzip
import hashlib
import os
import struct
import tarfile

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import cifar10, digits, fashion_mnist, files, mnist

needs_data = pytest.mark.skipif("FASTNN_DATA" not in os.environ, reason="FASTNN_DATA is not set")


def idx(array, kind=8, sizes=None):
    sizes = array.shape if sizes is None else sizes
    return struct.pack(">BBBB", 0, 0, kind, len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()


def write_set(folder, packed=True, n=5):
    """Four tiny IDX files; returns what load_data() must give."""
    rng = np.random.default_rng(0)
    os.makedirs(folder, exist_ok=True)
    parts = []
    for name, count in (("train", n), ("t10k", 2)):
        x, y = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
        parts.append((x, y))
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            content = idx(array)
            path = os.path.join(folder, f"{name}-{kind}-ubyte" + (".gz" if packed else ""))
            with open(path, "wb") as file:
                file.write(gzip.compress(content) if packed else content)
    return parts


def same(loaded, expected):
    for (x, y), (u, v) in zip(loaded, expected, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
        assert x.dtype == y.dtype == np.uint8


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("FASTNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_digits():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert x_train.dtype == y_test.dtype == np.uint8 and x_train.max() == 16
    assert np.bincount(y_test).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert np.bincount(np.concatenate([y_train, y_test])).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", ["", "mnist"])
def test_idx_folder(tmp_path, packed, below):
    expected = write_set(tmp_path / below, packed)
    same(mnist.load_data(tmp_path), expected)


def test_idx_arrays_are_writable(tmp_path):
    write_set(tmp_path)
    (x, _), _ = mnist.load_data(tmp_path)
    x[0] = 1


def test_data_folder_keeps_sets_apart(tmp_path, monkeypatch):
    one, two = write_set(tmp_path / "mnist", n=3), write_set(tmp_path / "fashion-mnist", n=4)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    same(mnist.load_data(), one)
    same(fashion_mnist.load_data(), two)


def test_keras_npz(tmp_path):
    (x_train, y_train), (x_test, y_test) = expected = write_set(tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    same(mnist.load_data(tmp_path / "mnist.npz"), expected)
    np.savez(tmp_path / "half.npz", x_train=x_train)
    with pytest.raises(ValueError, match="does not hold y_train, x_test, y_test"):
        mnist.load_data(tmp_path / "half.npz")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not an IDX file"),
        (b"\x01\x02\x08\x01", "not an IDX file: it starts with 01 02 08 01"),
        (b"\0\0\x08\x03\0\0", "ends within the sizes"),
        (idx(np.zeros((5, 28, 28), np.uint8))[:-1], r"needs 3920 bytes, it has 3919"),
        (idx(np.zeros((5, 28, 28), np.uint8)) + b"x", r"needs 3920 bytes, it has 3921"),
        (idx(np.zeros(1, np.uint8), sizes=(2**32 - 1,) * 3), "needs"),
        (idx(np.zeros((5, 27, 28), np.uint8)), r"has shape \(5, 27, 28\), expected"),
        (idx(np.zeros((5, 28), np.uint8)), r"has shape \(5, 28\), expected"),
        (idx(np.zeros((5, 28, 28), ">i2"), kind=0x0B), "holds >i2, expected uint8"),
        (idx(np.zeros((4, 28, 28), np.uint8)), "holds 4 images, .* 5 labels"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    write_set(tmp_path, packed=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        mnist.load_data(tmp_path)


def test_damaged_gzip(tmp_path):
    write_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged gzip file"):
        mnist.load_data(tmp_path)
    path.write_bytes(content[:100] + bytes([content[100] ^ 255]) + content[101:])
    with pytest.raises(ValueError, match="damaged"):
        mnist.load_data(tmp_path)


def test_labels_out_of_range(tmp_path):
    write_set(tmp_path, packed=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([3, 10], np.uint8)))
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.9, got 10"):
        mnist.load_data(tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        mnist.load_data(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="does not hold train-images"):
        mnist.load_data(tmp_path)


def test_download(tmp_path, cache, monkeypatch):
    expected = write_set(tmp_path / "mirror")
    sums = {name: hashlib.sha256((tmp_path / "mirror" / name).read_bytes()).hexdigest() for name in mnist.FILES}
    monkeypatch.setattr(mnist, "FILES", sums)
    monkeypatch.setattr(mnist, "MIRRORS", ((tmp_path / "nowhere").as_uri() + "/", (tmp_path / "mirror").as_uri() + "/"))
    same(mnist.load_data(), expected)
    assert sorted(os.listdir(cache / "mnist")) == sorted(sums)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    same(mnist.load_data(), expected)  # from the cache


def test_download_wrong_checksum(tmp_path, cache, monkeypatch):
    write_set(tmp_path / "mirror")
    monkeypatch.setattr(mnist, "MIRRORS", ((tmp_path / "mirror").as_uri() + "/",))
    with pytest.raises(OSError, match=r"sha256 is .* expected 440fcabf"):
        mnist.load_data()
    assert os.listdir(cache / "mnist") == []


def test_no_network(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ((tmp_path / "nowhere").as_uri() + "/",))
    with pytest.raises(OSError, match=r"Without a network put the file into .*FASTNN_DATA"):
        mnist.load_data()


# ---- CIFAR-10 ----


def records(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, (n, 1), np.uint8)
    return x, y, np.concatenate([y, x.transpose(0, 3, 1, 2).reshape(n, -1)], axis=1).tobytes()


@pytest.mark.parametrize("form", ["folder", "inner", "tar"])
def test_cifar10_binary(tmp_path, form):
    inner = tmp_path / "cifar-10-batches-bin"
    folder = tmp_path if form == "folder" else inner
    folder.mkdir(exist_ok=True)
    parts = [records(2, seed) for seed in range(6)]
    for name, (_, _, content) in zip(cifar10.BATCHES, parts, strict=True):
        (folder / name).write_bytes(content)
    if form == "tar":
        with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(inner, "cifar-10-batches-bin")
        for name in cifar10.BATCHES:
            (inner / name).unlink()
    train = np.concatenate([x for x, _, _ in parts[:5]]), np.concatenate([y for _, y, _ in parts[:5]])
    same(cifar10.load_data(tmp_path), [train, parts[5][:2]])


def test_cifar10_damaged(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(records(8, 0)[2][:-1])
    with pytest.raises(ValueError, match="expected a multiple of 3073"):
        cifar10.load_data(tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(ValueError, match="damaged archive"):
        cifar10.load_data(tmp_path)


def test_cifar10_single_batch(tmp_path):
    x, y, content = records(16, 0)
    (tmp_path / "data_batch_1_first16.bin.gz").write_bytes(gzip.compress(content))
    same(cifar10.load_data(tmp_path), [(x[:14], y[:14]), (x[14:], y[14:])])


def test_cifar10_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split in ("train", "test"):
        for name in ("cat", "ship"):
            os.makedirs(tmp_path / split / name)
            for number in range(2):
                pixels = np.full((32, 32, 3), 10 * number, np.uint8)
                image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    with tarfile.open(tmp_path / "pictures.tar.gz", "w:gz") as archive:
        for split in ("train", "test"):
            archive.add(tmp_path / split, split)
    for place in (tmp_path / "pictures.tar.gz", tmp_path):  # packed, and as folders
        (x, y), (_, y_test) = cifar10.load_data(place)
        assert y.tolist() == y_test.tolist() == [[3], [8], [3], [8]]
        assert x[:, 0, 0, 0].tolist() == [0, 0, 10, 10]


# ---- tables ----


def table(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return datasets.load_csv(path, **options)


def test_csv_header_and_text_labels(tmp_path):
    got = table(tmp_path, "length,width,kind\n1,2.5,rose\n3,4e1,aster\n\n5,6,rose\n")
    assert got.features == ("length", "width") and got.classes == ("aster", "rose")
    assert got.x.dtype == np.float32 and got.x.tolist() == [[1, 2.5], [3, 40], [5, 6]]
    assert got.y.dtype == np.int32 and got.y.tolist() == [1, 0, 1]


def test_csv_without_header(tmp_path):
    got = table(tmp_path, "1;2;7\n3;4;9\n5;6;7\n5;6;7\n")
    assert got.features == ("column 0", "column 1") and got.classes == ("7", "9") and got.y.tolist() == [0, 1, 0, 0]


def test_csv_label_column(tmp_path):
    text = "kind,a,b\nx,1,2\ny,3,4\n"
    assert table(tmp_path, text, label="kind").x.tolist() == [[1, 2], [3, 4]]
    assert table(tmp_path, text, label=0).classes == ("x", "y")
    with pytest.raises(ValueError, match="has no column 'c'; there are kind, a, b"):
        table(tmp_path, text, label="c")
    with pytest.raises(ValueError, match="has no column 3; it has 3"):
        table(tmp_path, text, label=3)


def test_csv_regression(tmp_path):
    got = table(tmp_path, "a,price\n1,0.5\n2,1.5\n")
    assert got.classes is None and got.y.dtype == np.float32 and got.y.tolist() == [0.5, 1.5]
    assert table(tmp_path, "a,n\n1,3\n2,4\n", task="regression").classes is None
    assert table(tmp_path, "a,n\n1,3\n2,4\n").classes == ("3", "4")


def test_csv_gzip_quotes_and_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress('\ufeff"a, b",k\n" 1 ",u\n2,"v, w"\n'.encode()))
    got = datasets.load_csv(path)
    assert got.features == ("a, b",) and got.classes == ("u", "v, w")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("a,b,c\n", "has no data, only a line of names"),
        ("1\n2\n", "has 1 column"),
        ("1,2,x\n1,2\n", "line 2: has 2 cells, the first line of data has 3"),
        ("a,b,k\n1,2,x\n1,oops,y\n", r"line 3, column 1 \(b\): 'oops' is not a number"),
        ("1,2,x\n1,,y\n", "line 2, column 1: missing value ''"),
        ("1,2,x\n1,3,?\n", "line 2, column 2: missing value '[?]'; pass missing='drop'$"),
        ("1,2,x\n1e39,3,y\n", "line 2, column 0: '1e39' does not fit float32"),
        ("1,2,x\ninf,3,y\n", "line 2, column 0: 'inf' does not fit float32"),
        ('1,2,x\n"1,3,y\n', "line"),
    ],
)
def test_csv_errors(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_csv_missing_values(tmp_path):
    text = "1,2,x\nNA,4,y\n3,4,x\n5,6,\n"
    assert table(tmp_path, text, missing="drop").x.tolist() == [[1, 2], [3, 4]]
    assert table(tmp_path, text[:-5], missing="mean").x.tolist() == [[1, 2], [2, 4], [3, 4]]
    with pytest.raises(ValueError, match="line 4, column 2"):
        table(tmp_path, text, missing="mean")


def test_npz(tmp_path):
    x, y = np.zeros((3, 4)), np.arange(3)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    (got, _), test = datasets.load_npz(tmp_path / "a.npz")
    assert got.shape == (3, 4) and test == (None, None)
    with pytest.raises(ValueError, match="holds x, y; expected u and v"):
        datasets.load_npz(tmp_path / "a.npz", "u", "v")
    np.savez(tmp_path / "b.npz", x=x, y=y[:2])
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\), y \(2,\)"):
        datasets.load_npz(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.array([{}], object), y=y)
    with pytest.raises(ValueError, match="not a valid"):
        datasets.load_npz(tmp_path / "c.npz")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[:-30])
    with pytest.raises(ValueError, match="not a valid"):
        datasets.load_npz(tmp_path / "d.npz")


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_images(name):
    module = getattr(datasets, name)
    (x, y), (x_test, y_test) = module.load_data()
    assert x.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28)
    assert np.bincount(y).sum() == 60000 and set(y_test.tolist()) == set(range(10))
    for file, sha256 in module.FILES.items():
        (path,) = files.locate("mnist" if name == "mnist" else "fashion-mnist", [file])
        if path.endswith(".gz"):
            with open(path, "rb") as content:
                assert hashlib.sha256(content.read()).hexdigest() == sha256


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    "name, columns, classes",
    [("iris", 4, 3), ("wine", 13, 3), ("breast_cancer", 30, 2), ("california_housing", 8, None)],
)
def test_real_tables(name, columns, classes):
    (x, y), (x_test, _) = getattr(datasets, name).load_data()
    assert x.shape[1] == x_test.shape[1] == columns and np.isfinite(x).all()
    assert classes is None or y.max() + 1 == classes
