"""Copies of layers, with what of the user's own they were made with: functions, and objects of classes."""

import inspect
import warnings
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import keras

_LIBRARIES = ("keras", "tensorflow")  # whose functions are called alike only where they are the same
_LAMBDA = "<lambda>"


def revive(layer: Any, kind: Any) -> Any:
    """A layer of a kind made anew, as another was made; Keras's own share functions and objects of the user's.

    Args:
        layer: a layer, or an operation of a graph.
        kind: the class of the new one, as a rule the other's own.
    """
    if not isinstance(layer, keras.layers.Layer):
        return kind.from_config(layer.get_config())
    own = {name: _nameable(layer, name, value) for name, value in made_with(layer).items()}
    if kind is keras.layers.Lambda:
        given = {"function": layer.function, "output_shape": layer._output_shape, "mask": layer.mask}
        return kind(**{**keras.layers.Layer.get_config(layer), **given, "arguments": layer.arguments, **own})
    with warnings.catch_warnings(), keras.saving.custom_object_scope(_named_parts(layer)):
        warnings.simplefilter("ignore", UserWarning)  # that a lambda is unsafe to load
        config = layer.get_config()
        if _is_of(kind, "keras"):
            return kind.from_config({**config, **own})
        if takes_any(kind):
            return kind.from_config(config)
        taken = inspect.signature(kind).parameters  # its own alone, not those that Keras gives to every layer
        return kind.from_config({name: value for name, value in config.items() if name in taken})


def made_with(layer: keras.layers.Layer) -> dict[str, Any]:
    """The functions and objects that a layer was made with and Keras does not find by itself, by argument."""
    given = {name: _held(layer, name) for name in inspect.signature(type(layer)).parameters}
    return {name: value for name, value in given.items() if _is_code(value) and not _is_known(value)}


def is_plain_lambda(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a Lambda whose function is saved as code, which needs nothing of the user's module."""
    return isinstance(layer, keras.layers.Lambda) and getattr(layer.function, "__name__", "") == _LAMBDA


def was_lambda(function: Any) -> bool:
    """Whether a function is a lambda that was given a name, so that Keras can be told of it."""
    return isinstance(function, FunctionType) and function.__code__.co_name == _LAMBDA != function.__name__


def saved_name(part: Any) -> str:
    """The name under which Keras saves a function or an object, and looks for it in `custom_objects`."""
    return part.__name__ if hasattr(part, "__name__") else type(part).__name__


def takes_any(kind: Any) -> bool:
    """Whether a class takes arguments of any name, such as those that Keras gives to every layer."""
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(kind).parameters.values())


def _held(layer: keras.layers.Layer, name: str) -> Any:
    """What a layer holds of an argument."""
    if isinstance(layer, keras.layers.Lambda) and name == "output_shape":
        return layer._output_shape
    return getattr(layer, name, None) if _is_of(type(layer), "keras") else vars(layer).get(name)


def _is_code(value: Any) -> bool:
    return callable(value) and not isinstance(value, keras.Operation | type)


def _is_known(part: Any) -> bool:
    """Whether Keras finds a function or an object again by what it saves of it, and not another of its name."""
    if getattr(part, "__name__", "") == _LAMBDA:
        return False
    try:
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))
    except Exception:  # whatever an object of the user's own raises
        return False
    return found is part or (type(found) is type(part) and (not isinstance(part, FunctionType) or _is_of(part)))


def _is_of(code: Any, *libraries: str) -> bool:
    """Whether a function or class is one of these libraries'."""
    return code.__module__.partition(".")[0] in (libraries or _LIBRARIES)


def _named_parts(layer: keras.layers.Layer) -> dict[str, Any]:
    """The classes, functions and objects of the user's own in a layer and those inside it, as Keras is told of them."""
    named: dict[str, Any] = {}
    for one in layer._flatten_layers():
        if not _is_of(type(one)):
            named[type(one).__name__] = type(one)
        for part in made_with(one).values():
            named[saved_name(part)] = part if hasattr(part, "__name__") else type(part)
    return named


def _nameable(layer: keras.layers.Layer, argument: str, part: Any) -> Any:
    """A part that Keras can be told of by its name: a lambda, or a function called like one of Keras's, gets one.

    The lambda of a Lambda layer stays one where its code alone is enough to load it.
    """
    is_function_of_lambda = isinstance(layer, keras.layers.Lambda) and argument == "function"
    if not isinstance(part, FunctionType):
        return part
    is_lambda = part.__name__ == _LAMBDA
    if (is_lambda and is_function_of_lambda and _stands_alone(part)) or not (is_lambda or _is_mistaken(part)):
        return part
    name = layer.name if is_function_of_lambda else f"{layer.name}_{argument}"
    renamed = FunctionType(part.__code__, part.__globals__, name, part.__defaults__, part.__closure__)
    renamed.__kwdefaults__, renamed.__module__ = part.__kwdefaults__, part.__module__
    renamed.__qualname__ = part.__qualname__
    return renamed


def _is_mistaken(function: FunctionType) -> bool:
    """Whether Keras takes a function, by its name, for another."""
    try:
        return keras.activations.get(function.__name__) is not function
    except ValueError:
        return False


def _stands_alone(function: FunctionType) -> bool:
    """Whether a function is its code alone: it uses no name of its module, and has neither defaults nor a closure."""
    used = set(_names_in(function.__code__))
    beside = function.__closure__ or function.__defaults__ or function.__kwdefaults__
    return not (beside or used & function.__globals__.keys())


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
