"""From objects to JSON-ready configs and back: Keras 3's scheme and its function names.

    {"module": "fastnn.layers", "class_name": "Dense", "config": {...}, "registered_name": None}

A config is data, never code. What it may name: fastnn's own classes and functions (Keras' module names are taken for
fastnn's), what `register_keras_serializable` registered, and what `custom_object_scope` or `custom_objects=` gives.
No other module is imported and nothing is unpickled, so a file from a stranger cannot run anything.
"""

import contextlib
import contextvars
import importlib
import inspect
import re
import types

import numpy as np

PLAIN = (str, int, float, bool)
#: Modules whose functions (losses, activations, ...) a config may name.
FUNCTION_MODULES = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
PACKAGE = __name__.partition(".")[0]

_objects = {}  # registered name -> class or function
_names = {}  # class or function -> registered name
_scope = contextvars.ContextVar("custom_objects")


def get_custom_objects():
    """The global dictionary of registered objects, by name. It is live: changes register and unregister."""
    return _objects


def register_keras_serializable(package="Custom", name=None):
    """Decorator that lets a class (with get_config) or a function be saved and loaded under "package>name"."""

    def register(target):
        if inspect.isclass(target) and not hasattr(target, "get_config"):
            raise ValueError(f"register_keras_serializable: class {target.__name__} must have a get_config() method")
        registered = f"{package}>{target.__name__ if name is None else name}"
        _objects[registered] = target
        _names[target] = registered
        return target

    return register


register_serializable = register_keras_serializable


def get_registered_name(obj):
    """The name that `obj` was registered under, or else its Python name."""
    return _names[obj] if _is_registered(obj) else obj.__name__


def get_registered_object(name, custom_objects=None, module_objects=None):
    """What was registered or put in scope under `name`; None where there is nothing."""
    for objects in (_scope.get({}), _objects, custom_objects or {}, module_objects or {}):
        if name in objects:
            return objects[name]
    return None


class CustomObjectScope(contextlib.AbstractContextManager):
    """`with custom_object_scope({"MyLayer": MyLayer}):` makes names known to loading, in this thread and block."""

    def __init__(self, custom_objects):
        self.custom_objects = dict(custom_objects or {})
        self._tokens = []

    def __enter__(self):
        self._tokens.append(_scope.set({**_scope.get({}), **self.custom_objects}))
        return self

    def __exit__(self, *exception):
        _scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope


# ---- objects to configs ----


def serialize_keras_object(obj):
    """`obj` as None, numbers, strings, lists and dictionaries: what JSON holds and `deserialize_keras_object` reads."""
    if obj is None or type(obj) in PLAIN:
        return obj
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, PLAIN):
        return next(kind for kind in (bool, int, float, str) if isinstance(obj, kind))(obj)
    if isinstance(obj, (list, tuple)):
        return [serialize_keras_object(item) for item in obj]  # JSON knows no tuples
    if isinstance(obj, dict):
        unfit = [key for key in obj if not isinstance(key, str)]
        if unfit:
            raise TypeError(f"serialize: dictionary keys must be strings, got {unfit[0]!r}")
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("latin-1")}}
    if isinstance(obj, slice):
        return {"class_name": "__slice__", "config": {"start": obj.start, "stop": obj.stop, "step": obj.step}}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, np.dtype):
        return obj.name
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
    if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)):
        return _serialize_callable(obj)
    if not hasattr(obj, "get_config"):
        raise TypeError(f"serialize: cannot save {obj!r} of type {type(obj).__name__}; give the class get_config()")
    config = {
        "module": public_module(type(obj)),
        "class_name": type(obj).__name__,
        "config": serialize_keras_object(obj.get_config()),
        "registered_name": _registered_name(type(obj)),
    }
    for key in ("build_config", "compile_config"):
        method = getattr(obj, f"get_{key}", None)
        value = method() if callable(method) else None
        if value is not None:
            config[key] = serialize_keras_object(value)
    return config


def _serialize_callable(obj):
    name = getattr(obj, "__name__", "")
    if name == "<lambda>":
        raise ValueError(
            "serialize: a lambda cannot be saved; define a function and decorate it with "
            "@fastnn.saving.register_keras_serializable()"
        )
    kind = "__class__" if isinstance(obj, type) else "function"
    return {"module": public_module(obj), "class_name": kind, "config": name, "registered_name": _registered_name(obj)}


def _is_registered(obj):
    try:
        return obj in _names
    except TypeError:
        return False


def _registered_name(obj):
    return _names[obj] if _is_registered(obj) else None


def public_module(obj):
    """ "fastnn.layers" for what is defined anywhere below it, the module itself for what is not fastnn's."""
    module = getattr(obj, "__module__", None)
    if module is None or module == "__main__":
        return None
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == PACKAGE else module


# ---- configs to objects ----


def deserialize_keras_object(config, custom_objects=None, safe_mode=True, *, module_objects=None, **kwargs):
    """The object that `config`, made by `serialize_keras_object`, describes.

    `custom_objects` maps names to classes and functions that are not registered. `safe_mode` is there for Keras'
    sake: nothing unsafe is ever loaded. A string names a function or a class of `module_objects`.
    """
    if custom_objects:
        with CustomObjectScope(custom_objects):
            return _deserialize(config, module_objects)
    return _deserialize(config, module_objects)


def _deserialize(config, module_objects=None):
    if isinstance(config, (list, tuple)):
        return type(config)(_deserialize(item) for item in config)
    if isinstance(config, str) and module_objects is not None:
        found = get_registered_object(config, module_objects=module_objects)
        if found is None:
            raise ValueError(f"unknown name {config!r}; known are {', '.join(sorted(module_objects))}")
        return found() if inspect.isclass(found) else found
    if config is None or isinstance(config, PLAIN):
        return config
    if not isinstance(config, dict):
        raise TypeError(f"deserialize: expected a config, got {type(config).__name__}")
    if "class_name" not in config or "config" not in config:
        return {key: _deserialize(value) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    if name in SPECIAL:
        return SPECIAL[name](inner)
    if name in ("function", "__class__"):
        return _find(config, inner, functions=name == "function", module_objects=module_objects)
    cls = _find(config, name, functions=False, module_objects=module_objects)
    if not inspect.isclass(cls):
        return cls  # a legacy config that names a function as if it were a class
    if not isinstance(inner, dict):
        raise ValueError(f"deserialize: the config of {name} must be a dictionary, got {type(inner).__name__}")
    try:
        instance = cls.from_config(inner) if hasattr(cls, "from_config") else cls(**inner)
    except TypeError as error:
        text = repr(inner)  # of a model: everything in it
        text = text if len(text) <= 200 else f"{text[:200]}..."
        raise TypeError(f"deserialize: {name} could not be made from its config: {error}; it is {text}") from error
    if config.get("build_config") and not getattr(instance, "built", True):
        instance.build_from_config(_deserialize(config["build_config"]))
    if config.get("compile_config") and hasattr(instance, "compile_from_config"):
        instance.compile_from_config(config["compile_config"])
    return instance


SPECIAL = {
    "__bytes__": lambda config: config["value"].encode("latin-1"),
    "__slice__": lambda config: slice(config["start"], config["stop"], config["step"]),
    "__ellipsis__": lambda config: Ellipsis,
    "__numpy__": lambda config: np.array(config["value"], dtype=config["dtype"]),
    "__tensor__": lambda config: np.array(config["value"], dtype=config["dtype"]),
}


def _find(config, name, functions, module_objects):
    """The class or function that a config names."""
    for key in (config.get("registered_name"), name):
        found = None if key is None else get_registered_object(key, module_objects=module_objects)
        if found is not None:
            return found
    module = config.get("module") or ""
    found = _own(module, name, functions)
    if found is None:
        kind = "function" if functions else "class"
        raise TypeError(
            f"cannot find {kind} {name!r} of module {module!r}; decorate it with "
            f"@fastnn.saving.register_keras_serializable() or pass custom_objects={{{name!r}: {name}}}"
        )
    return found


def _own(module, name, functions):
    """fastnn's class or function of that name; None where there is none. Nothing else is ever imported."""
    parts = module.split(".")
    if parts[0] not in (PACKAGE, "keras") or not all(part.isidentifier() for part in [*parts, name]):
        return None
    parts = [part for part in parts[1:] if part != "src"] or ["models"]
    if functions and parts[0] not in FUNCTION_MODULES:
        return None
    try:
        home = importlib.import_module(f"{PACKAGE}.{parts[0]}")
    except ImportError:
        return None
    found = getattr(home, name, None)
    fits = inspect.isclass(found) and hasattr(found, "get_config")
    if functions:
        fits = callable(found) and not inspect.isclass(found)
    return found if fits and str(getattr(found, "__module__", "")).startswith(f"{PACKAGE}.") else None


# ---- get() of initializers, regularizers, constraints, ... ----


def to_snake_case(name):
    """ "GlorotUniform" -> "glorot_uniform"."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def names_of(classes):
    """The names that Keras knows each class by: its own and the one in snake case."""
    return {name: cls for cls in classes for name in (cls.__name__, to_snake_case(cls.__name__))}


def get(kind, identifier, names):
    """What `identifier` means among `names`: None, a name, a config, a class (made without arguments) or a callable."""
    if identifier is None:
        return None
    if isinstance(identifier, str):
        found = get_registered_object(identifier, module_objects=names)
        if found is None:
            known = ", ".join(sorted(name for name in names if name.islower()))
            raise ValueError(f"{kind}: unknown name {identifier!r}; known are {known}")
        return found() if inspect.isclass(found) else found
    if isinstance(identifier, dict):
        return deserialize_keras_object(identifier, module_objects=names)
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier):
        return identifier
    raise TypeError(
        f"{kind}: expected a name, a config, an object or a callable, got {identifier!r} "
        f"of type {type(identifier).__name__}"
    )
