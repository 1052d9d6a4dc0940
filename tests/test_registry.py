"""Configs of objects: what is saved, what is found again, and what is never loaded."""

import json
import threading

import numpy as np
import pytest

from fastnn import initializers, saving


class Plain:
    def __init__(self, size=1):
        self.size = size

    def get_config(self):
        return {"size": self.size}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@pytest.fixture
def registered():
    before = dict(saving.get_custom_objects())
    cls = saving.register_keras_serializable("pack", "Renamed")(type("Mine", (Plain,), {}))
    yield cls
    saving.get_custom_objects().clear()
    saving.get_custom_objects().update(before)


def through_json(obj, **options):
    return saving.deserialize_keras_object(json.loads(json.dumps(saving.serialize_keras_object(obj))), **options)


@pytest.mark.parametrize(
    "obj", [None, 1, 2.5, True, "text", [1, [None]], {"a": {"b": [1]}}, b"\0\xff", slice(1, None, 2), Ellipsis]
)
def test_plain_values(obj):
    assert through_json(obj) == obj


def test_arrays_and_numpy_scalars():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    back = through_json(array)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert through_json(np.float32(0.5)) == 0.5 and through_json((1, 2)) == [1, 2]
    assert saving.serialize_keras_object(np.dtype("float32")) == "float32"


def test_own_objects():
    config = saving.serialize_keras_object(initializers.VarianceScaling(2.0, "fan_out", "uniform", 3))
    assert config["module"] == "fastnn.initializers" and config["class_name"] == "VarianceScaling"
    assert config["registered_name"] is None
    back = saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert type(back) is initializers.VarianceScaling and back.get_config() == config["config"]


def test_configs_of_keras():
    config = {
        "module": "keras.initializers",
        "class_name": "HeNormal",
        "config": {"seed": None},
        "registered_name": None,
    }
    assert type(saving.deserialize_keras_object(config)) is initializers.HeNormal


def test_registered(registered):
    assert saving.get_registered_name(registered) == "pack>Renamed"
    assert saving.get_registered_object("pack>Renamed") is registered
    back = through_json(registered(5))
    assert type(back) is registered and back.size == 5
    assert through_json(registered) is registered


def test_registered_function():
    @saving.register_keras_serializable("pack")
    def double(x):
        return 2 * x

    config = saving.serialize_keras_object(double)
    assert config["config"] == "double" and config["registered_name"] == "pack>double"
    assert saving.deserialize_keras_object(config) is double
    del saving.get_custom_objects()["pack>double"]


def test_custom_objects_and_scope():
    config = saving.serialize_keras_object(Plain(4))
    with pytest.raises(TypeError, match=r"cannot find class 'Plain' .*register_keras_serializable"):
        saving.deserialize_keras_object(config)
    assert saving.deserialize_keras_object(config, custom_objects={"Plain": Plain}).size == 4
    seen = []
    with saving.custom_object_scope({"Plain": Plain}):
        assert saving.deserialize_keras_object(config).size == 4
        with saving.custom_object_scope({"Other": Plain}):
            assert saving.get_registered_object("Plain") is Plain
        thread = threading.Thread(target=lambda: seen.append(saving.get_registered_object("Plain")))
        thread.start()
        thread.join()
    assert seen == [None] and saving.get_registered_object("Plain") is None


@pytest.mark.parametrize(
    "config",
    [
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "os", "class_name": "function", "config": "system"},
        {"module": "fastnn.saving", "class_name": "function", "config": "save_state"},
        {"module": "fastnn.utils", "class_name": "Progbar", "config": {"target": 1}},
        {"module": "fastnn.initializers", "class_name": "np", "config": {}},
        {"module": "fastnn.initializers", "class_name": "function", "config": "inspect"},
        {"module": "fastnn..os", "class_name": "X", "config": {}},
        {"module": "fastnn.nothing", "class_name": "X", "config": {}},
        {"module": None, "class_name": "X", "config": {}},
    ],
)
def test_nothing_else_is_loaded(config):
    with pytest.raises(TypeError, match="cannot find"):
        saving.deserialize_keras_object(config)


def test_what_cannot_be_saved():
    with pytest.raises(ValueError, match="a lambda cannot be saved"):
        saving.serialize_keras_object(lambda x: x)
    with pytest.raises(TypeError, match="give the class get_config"):
        saving.serialize_keras_object(object())
    with pytest.raises(TypeError, match="keys must be strings"):
        saving.serialize_keras_object({1: 2})
    with pytest.raises(ValueError, match="class int must have a get_config"):
        saving.register_keras_serializable()(int)


def test_wrong_config():
    bad = {"module": "fastnn.initializers", "class_name": "Zeros", "config": {"no": 1}}
    with pytest.raises(TypeError, match="Zeros could not be made from its config"):
        saving.deserialize_keras_object(bad)
    with pytest.raises(ValueError, match="config of Zeros must be a dictionary"):
        saving.deserialize_keras_object({**bad, "config": 3})
