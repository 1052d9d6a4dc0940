"""safetensors and state files: round trips, damaged files, writing whole or not at all."""

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.saving import load_state, safetensors, save_state
from fastnn.saving.files import atomic_write, read_npz
from fastnn.saving.state import load_metadata

ARRAYS = {
    "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.int32),
    "mask": np.array([True, False, True]),
    "bytes": np.arange(5, dtype=np.uint8),
    "big": np.arange(4, dtype=">f8"),
    "strided": np.arange(12, dtype=np.int64).reshape(3, 4).T,
    "half": np.array([1.5], np.float16),
    "complex": np.array([1 + 2j], np.complex64),
    "umlaut ü": np.array([1], np.uint16),
}


def same(loaded):
    assert set(loaded) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(tmp_path, mmap):
    path = tmp_path / "a.safetensors"
    safetensors.write(path, ARRAYS, {"who": "we"})
    loaded, metadata = safetensors.read(path, mmap=mmap)
    same(loaded)
    assert metadata == {"who": "we"}
    assert loaded["dense/kernel"].flags.writeable is not mmap


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_state(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    config = {"layers": [1, {"x": None}], "text": "ü"}
    save_state(path, ARRAYS, config)
    loaded, metadata = load_state(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
    assert metadata == config == load_metadata(path)


def test_state_of_another_program(tmp_path):
    safetensors.write(tmp_path / "a", {"x": np.ones(2)})
    assert load_state(tmp_path / "a")[1] == {}
    np.savez(tmp_path / "b.npz", x=np.ones(2))
    assert load_state(tmp_path / "b.npz")[1] == {}


def test_state_of_a_newer_format(tmp_path):
    safetensors.write(tmp_path / "a", {}, {"fastnn": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match=r"written in format 99, .* install a newer fastnn"):
        load_state(tmp_path / "a")
    safetensors.write(tmp_path / "a", {}, {"fastnn": "{"})
    with pytest.raises(ValueError, match="config is not valid JSON"):
        load_state(tmp_path / "a")


def test_bfloat16(tmp_path):
    bits = np.array([0x3F80, 0xC000], np.uint16)
    safetensors.write(tmp_path / "a", {"w": bits}, bfloat16=["w"])
    assert safetensors.read_header(tmp_path / "a")[0]["w"][0] == "BF16"
    np.testing.assert_array_equal(safetensors.read(tmp_path / "a")[0]["w"], bits)
    with pytest.raises(TypeError, match="must be uint16"):
        safetensors.write(tmp_path / "a", {"w": np.ones(1)}, bfloat16=["w"])


def test_cross_reading(tmp_path):
    other = pytest.importorskip("safetensors.numpy")
    ours = {name: array for name, array in ARRAYS.items() if name not in ("big", "complex", "strided")}
    safetensors.write(tmp_path / "a", ours, {"k": "v"})
    for name, array in other.load_file(tmp_path / "a").items():
        np.testing.assert_array_equal(array, ours[name])
    other.save_file(ours, tmp_path / "b", {"k": "v"})
    loaded, metadata = safetensors.read(tmp_path / "b")
    assert metadata == {"k": "v"} and set(loaded) == set(ours)
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, ours[name])


def raw(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has 0 bytes"),
        (b"1234567", "has 7 bytes"),
        (raw({}, length=1000), "header should have 1000 bytes, but the file ends after 2"),
        (raw({}, length=2**63), "more than the limit"),
        (raw(b"[]"), "must start with '{'"),
        (raw(b"{\xff}"), "not UTF-8"),
        (raw(b"{"), "not valid JSON"),
        (raw(b'{"a":' * 50_000), "nested too deeply|not valid JSON"),
        (raw(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', b"1234"), "'a' occurs twice"),
        (raw({"a": 1}), "must have exactly dtype, shape and data_offsets"),
        (raw({"a": {**entry(), "more": 1}}), "must have exactly"),
        (raw({"a": entry("F8")}, b"1234"), "has dtype 'F8'; this reader knows"),
        (raw({"a": entry(["F32"])}, b"1234"), "has dtype"),
        (raw({"a": entry(shape=[-1])}, b"1234"), r"has shape \[-1\]"),
        (raw({"a": entry(shape=[1.0])}, b"1234"), r"has shape \[1.0\]"),
        (raw({"a": entry(shape=[True])}, b"1234"), r"has shape \[True\]"),
        (raw({"a": entry(shape=[2])}, b"1234"), "needs 8 bytes"),
        (raw({"a": entry(shape=[2**40, 2**40])}, b"1234"), "needs"),
        (raw({"a": entry(offsets=[4, 0])}, b"1234"), r"data_offsets \[4, 0\]"),
        (raw({"a": entry(offsets=[0])}, b"1234"), "data_offsets"),
        (raw({"a": entry(offsets=[-4, 0])}, b"1234"), "data_offsets"),
        (raw({"a": entry()}, b"123"), "take 4 bytes, the file holds 3: it ends early"),
        (raw({"a": entry()}, b"12345"), "bytes that no tensor owns"),
        (raw({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456"), "overlaps the tensor before it"),
        (raw({"a": entry(), "b": entry(offsets=(6, 10))}, b"1234567890"), "leaves a hole"),
        (raw({"a": entry(offsets=(4, 8))}, b"12345678"), "leaves a hole"),
        (raw({"a": entry("BOOL", offsets=(0, 1))}, b"\x02"), "BOOL must be 0 or 1, got 2"),
        (raw({"__metadata__": {"a": 1}}), "__metadata__ must be a dictionary of strings"),
        (raw({"a": entry("U8", [0] * 65, (0, 0))}), "larger than NumPy allows"),
        (raw({"a": entry("U8", [0, 2**63], (0, 0))}), "larger than NumPy allows"),
    ],
)
def test_damaged(tmp_path, content, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        safetensors.read(path)
    assert "bad.safetensors" in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    safetensors.write(path, {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, bool)}, {"k": "v"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        safetensors.read(path)
    except ValueError:
        pass


def test_unaligned_tensors_are_read(tmp_path):
    header = {"a": entry("U8", [1], (0, 1)), "b": entry(offsets=(1, 5))}
    (tmp_path / "a").write_bytes(raw(header, b"\x07" + np.float32(1.5).tobytes()))
    loaded, _ = safetensors.read(tmp_path / "a")
    assert loaded["a"][0] == 7 and loaded["b"][0] == 1.5


@pytest.mark.parametrize("cut", [10, 100, -1])
def test_damaged_npz(tmp_path, cut):
    save_state(tmp_path / "a.npz", ARRAYS)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"a\.npz: not a valid"):
        load_state(tmp_path / "a.npz")


def test_writing_bad_values(tmp_path):
    for tensors, metadata, error in [
        ({"x": np.array([object()])}, None, TypeError),
        ({"x": np.array(["a"])}, None, TypeError),
        ({1: np.ones(1)}, None, ValueError),
        ({"__metadata__": np.ones(1)}, None, ValueError),
        ({}, {"a": 1}, TypeError),
    ]:
        with pytest.raises(error):
            safetensors.write(tmp_path / "a", tensors, metadata)
    with pytest.raises(TypeError, match="fit for JSON"):
        save_state(tmp_path / "a", {}, {"a": object()})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chmod(path, 0o640)
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half of the ne")
        raise RuntimeError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_write_through_a_link_and_to_nowhere(tmp_path):
    (tmp_path / "real").write_bytes(b"")
    os.symlink(tmp_path / "real", tmp_path / "link")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "real").read_bytes() == b"x" and os.path.islink(tmp_path / "link")
    with pytest.raises(FileNotFoundError, match="there is no folder"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(IsADirectoryError, match="it is a folder"), atomic_write(tmp_path):
        pass


def damaged_archives(content):
    """Bytes that are missing, a member that claims to be encrypted, a place and sizes that are zero."""
    yield content[:100] + content[105:]
    at = content.index(b"PK\x01\x02")
    yield content[: at + 8] + bytes([content[at + 8] | 1]) + content[at + 9 :]
    yield content[: at + 16] + bytes(12) + content[at + 28 :]
    yield content[:-30]
    yield b"x,y\n1,2\n"


def test_damaged_directories_of_npz(tmp_path):
    path = tmp_path / "a.npz"
    save_state(path, {"dense/kernel": ARRAYS["dense/kernel"]}, {"epoch": 1})
    for content in list(damaged_archives(path.read_bytes())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz: not a valid \.npz file"):
            read_npz(path)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "b.npz")
