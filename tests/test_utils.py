"""Seeds, array helpers, plots."""

import copy
import pickle
import threading

import numpy as np
import pytest

from fastnn import utils
from fastnn.utils import seeding


def test_global_stream_is_reproducible():
    utils.set_random_seed(7)
    first = [seeding.next_seed() for _ in range(5)], np.random.rand()
    utils.set_random_seed(7)
    assert ([seeding.next_seed() for _ in range(5)], np.random.rand()) == first
    assert len(set(first[0])) == 5 and all(0 <= seed < 2**64 for seed in first[0])
    utils.set_random_seed(8)
    assert seeding.next_seed() not in first[0]


def test_state_goes_on():
    utils.set_random_seed(7)
    seeding.next_seed()
    state = seeding.get_state()
    expected = seeding.next_seed(), seeding.next_seed()
    seeding.set_state(state)
    assert (seeding.next_seed(), seeding.next_seed()) == expected
    for bad in (None, [1], [1, -1], ["a", 2], [2**64, 0]):
        with pytest.raises(ValueError, match="set_state"):
            seeding.set_state(bad)


def test_generator_copies():
    stream = utils.SeedGenerator(3)
    stream.next()
    for other in (pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream)):
        assert other.next() == copy.copy(stream).next()
    assert utils.SeedGenerator.from_config(stream.get_config()).next() == utils.SeedGenerator(3).next()


def test_generator_in_threads_gives_each_seed_once():
    stream, drawn = utils.SeedGenerator(1), []
    threads = [threading.Thread(target=lambda: drawn.extend(stream.next() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 2000


@pytest.mark.parametrize("seed, error", [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), (None, TypeError)])
def test_bad_seeds(seed, error):
    with pytest.raises(error, match="set_random_seed: seed must be"):
        utils.set_random_seed(seed)


def test_to_categorical():
    np.testing.assert_array_equal(utils.to_categorical([0, 2]), [[1, 0, 0], [0, 0, 1]])
    assert utils.to_categorical(np.zeros((4, 2, 1), int), 3).shape == (4, 2, 3)
    assert utils.to_categorical(np.array([1.0, 0.0])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"must be in 0\.\.1, got 0 to 2"):
        utils.to_categorical([0, 2], 2)
    with pytest.raises(ValueError, match="got -1 to 0"):
        utils.to_categorical([0, -1])
    with pytest.raises(TypeError, match="integer class ids"):
        utils.to_categorical([0.5])
    with pytest.raises(ValueError, match="is empty"):
        utils.to_categorical([])


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert utils.normalize(x).tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert utils.normalize(x, axis=0).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert utils.normalize(x.astype(np.float32)).dtype == np.float32
    assert utils.normalize(x, order=np.inf).tolist() == [[0.75, 1.0], [0.0, 0.0]]
    for settings, error, message in [
        ({"order": 0}, ValueError, "normalize: order must be > 0, got 0"),
        ({"order": "a"}, TypeError, "normalize: order must be a number, got 'a'"),
        ({"axis": 2}, ValueError, "normalize: axis 2 is out of range for x of 2 dimensions"),
        ({"axis": "a"}, ValueError, "normalize: axis must be an integer, got 'a'"),
    ]:
        with pytest.raises(error, match=message):
            utils.normalize(x, **settings)


def test_pad_sequences():
    pad = utils.pad_sequences
    assert pad([[1], [1, 2, 3]]).tolist() == [[0, 0, 1], [1, 2, 3]]
    assert pad([[1], [1, 2, 3]], 2, padding="post", truncating="post", value=9).tolist() == [[1, 9], [1, 2]]
    assert pad([[1, 2, 3]], 2).tolist() == [[2, 3]]
    assert pad([[], [[1.0, 2.0]]], dtype="float32").shape == (2, 1, 2)
    assert pad([]).shape == (0, 0)
    for arguments, error, message in [
        (([[1]], 2, "int32", "left"), ValueError, "padding must be 'pre' or 'post'"),
        (([1],), TypeError, "item 0 must be a sequence"),
        ((3,), TypeError, "must be a list of sequences"),
        (([[1], [[2, 3]]],), ValueError, "item 1 has entries of shape"),
    ]:
        with pytest.raises(error, match=message):
            pad(*arguments)
    with pytest.raises(ValueError, match="does not fit dtype int32"):
        pad([[1]], value=0.5)


def test_plot_history(tmp_path):
    pytest.importorskip("matplotlib")
    utils.plot_history({"loss": [1, 2, 3], "val_loss": [2.0], "acc": [0, 1, 1]}, tmp_path / "a.png", title="t")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="history is empty"):
        utils.plot_history({})


def test_keras_names_of_the_registry():
    assert utils.get_custom_objects() is utils.get_custom_objects()
    with pytest.raises(AttributeError):
        utils.nothing  # noqa: B018
