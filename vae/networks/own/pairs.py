"""The encoder and the decoder in whatever a user names as their model."""

import inspect
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from klsearch.vae.host.own_code import CodeProblem

_ENCODER = re.compile(r"enc|infer|recogn", re.IGNORECASE)
_DECODER = re.compile(r"dec|generat|reconstr", re.IGNORECASE)
# Names of arguments that say what to give for them.
_SHAPE = ("input_shape", "shape", "image_shape", "row_shape", "data_shape")
_FEATURES = ("input_dim", "original_dim", "data_dim", "input_size", "n_features", "features")
_LOOSE = ("shape", "features")  # which may be something else where the user has a value for them
_CONDITION = "condition_shape"
_LATENTS = ("latent_dim", "latent_dims", "latent_size", "latents", "n_latent", "z_dim", "z_size", "encoding_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How the two models come from what the user named, as Python that follows that name.

    Attributes:
        call: the arguments with which it makes them, such as `(latent_dim=4)`; empty where it is not called. What they
            take from the user's module follows `{module}`.
        encoder: what then leads to the encoder, such as `.encoder` or `[0]`.
        decoder: the same to the decoder.
        made_by: the class, where a class was named.
    """

    call: str = ""
    encoder: str = "[0]"
    decoder: str = "[1]"
    made_by: type | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A user's two models.

    Attributes:
        encoder: as it was brought.
        decoder: the same.
        notes: how they were found, one line each, where that is not plain.
        origin: where they were found.
    """

    encoder: keras.layers.Layer
    decoder: keras.layers.Layer
    notes: tuple[str, ...] = ()
    origin: Origin = Origin()


def find_pair(
    named: Any, input_shape: tuple[int, ...], latent_dim: int, beside: Mapping[str, Any], condition_width: int = 0
) -> Pair:
    """The encoder and the decoder in what a user's name stands for.

    Args:
        named: a function or class that makes them, or what holds them: a list, tuple or dictionary of two models, or an
            object whose attributes or layers they are.
        input_shape: of one row.
        latent_dim: d.
        beside: what the user's module holds by name, for a class that takes an `encoder` and a `decoder`.
        condition_width: how many numbers are told of each row; 0 where nothing is.

    Raises:
        ValueError: there are none, or the function needs what nobody can give it, or is not told of the condition.
    """
    given, call = named, ""
    if _is_maker(named):
        given, call = _make(_tell(named, condition_width), input_shape, latent_dim, beside)
    pair = _put_in_order(pair_in(given), math.prod(input_shape), latent_dim)
    made_by = named if inspect.isclass(named) else None
    origin = replace(pair.origin, call=call, made_by=made_by)
    return replace(pair, notes=(*pair.notes, *_uncalled(given)), origin=origin)


def _is_maker(named: Any) -> bool:
    """Whether it is to be called; a model, which can be called too, is there already."""
    return inspect.isclass(named) or (callable(named) and not _is_model(named) and not hasattr(named, "encoder"))


def _is_model(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def _tell(maker: Any, condition_width: int) -> Any:
    """The function or class, told how wide the condition is if it asks for that; whether models fit is seen later.

    Raises:
        ValueError: it asks for a condition where there is none.
    """
    parameters = inspect.signature(maker).parameters
    one = parameters.get(_CONDITION)
    takes_any = not inspect.isclass(maker) and any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    if condition_width and (one is not None or takes_any):
        return partial(maker, **{_CONDITION: (condition_width,)})
    if not condition_width and one is not None and one.default is one.empty:
        raise ValueError(
            "the model factory asks for condition_shape, but data.condition is not set; set it, or give it a default."
        )
    return maker


def _make(maker: Any, input_shape: tuple[int, ...], latent_dim: int, beside: Mapping[str, Any]) -> tuple[Any, str]:
    """What the function or class gives for the arguments that it names, or for the shape and d if it names none.

    Returns:
        That, and the arguments in Python.
    """
    known = {**dict.fromkeys(_SHAPE, input_shape), **dict.fromkeys(_FEATURES, math.prod(input_shape))}
    known |= dict.fromkeys(_LATENTS, latent_dim)
    known |= {name: beside[name] for name in ("encoder", "decoder") if _is_model(beside.get(name))}
    parameters = list(inspect.signature(maker).parameters.values())
    if any(one.kind is one.VAR_POSITIONAL for one in parameters) and len(parameters) == 1:
        return _called(maker, input_shape, latent_dim)
    taken = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    required = [one for one in taken if one.default is one.empty]
    strange = [one.name for one in required if one.name not in known or one.kind is one.POSITIONAL_ONLY]
    if not strange:
        loose = [one.name for one in taken if one.name in _LOOSE and one not in required]
        return _called(
            maker, **{one.name: known[one.name] for one in taken if one.name in known and one.name not in loose}
        )
    if _takes_by_place(required, known):
        return _called(maker, input_shape, latent_dim)
    name = getattr(getattr(maker, "func", maker), "__name__", "the model factory")
    raise ValueError(
        f"{name}() needs {' and '.join(map(repr, strange))}, and nobody knows what to give for it; name a "
        "function without arguments that gives the model, or one of (input_shape, latent_dim)."
    )


def _takes_by_place(required: Sequence[inspect.Parameter], known: Mapping[str, Any]) -> bool:
    """Whether two arguments can be the shape of a row and d: of no name that means another thing."""
    if len(required) != 2 or any(one.kind is one.KEYWORD_ONLY for one in required):
        return False
    taken = (*known, "encoder", "decoder")
    return all(one.name in own or one.name not in taken for one, own in zip(required, (_SHAPE, _LATENTS), strict=True))


def _called(maker: Any, *arguments: Any, **named: Any) -> tuple[Any, str]:
    """What a function or class gives, and its arguments in Python; models are those of the user's module."""
    told = {**named, **getattr(maker, "keywords", {})}
    words = [repr(value) for value in arguments]
    words += [f"{name}={f'{{module}}.{name}' if _is_model(value) else repr(value)}" for name, value in told.items()]
    return maker(*arguments, **named), f"({', '.join(words)})"


def pair_in(given: Any) -> Pair:
    """The two models that an object holds, by position or by name."""
    if isinstance(given, list | tuple) and len(given) == 2 and all(map(_is_model, given)):
        return Pair(encoder=given[0], decoder=given[1])
    if isinstance(given, list | tuple):
        return _by_name([(getattr(one, "name", ""), one, f"[{place}]") for place, one in enumerate(given)], given)
    if isinstance(given, Mapping):
        return _by_name([(str(name), one, f"[{name!r}]") for name, one in given.items()], given)
    encoder, decoder = getattr(given, "encoder", None), getattr(given, "decoder", None)
    if isinstance(encoder, keras.layers.Layer) and isinstance(decoder, keras.layers.Layer):
        return Pair(encoder=encoder, decoder=decoder, origin=Origin(encoder=".encoder", decoder=".decoder"))
    held = [(name, value, f".{name}") for name, value in getattr(given, "__dict__", {}).items()]
    layers = getattr(given, "layers", ()) if _is_model(given) else ()
    return _by_name([*held, *((layer.name, layer, f".get_layer({layer.name!r})") for layer in layers)], given)


def _uncalled(given: Any) -> list[str]:
    """A line where a model has a training step of its own."""
    if not isinstance(given, keras.Model) or type(given).train_step is keras.Model.train_step:
        return []
    return [f"{type(given).__name__}.train_step is not called: the loss is that of the study, with its KL weight"]


def _by_name(named: Iterable[tuple[str, Any, str]], given: Any) -> Pair:
    """The one model whose name speaks of an encoder, and the one whose name speaks of a decoder.

    Args:
        named: names, what has them, and what leads there.
        given: that holds it all.

    Raises:
        ValueError: there is none, or more than one.
    """
    models = [(name, model, way) for name, model, way in named if _is_model(model)]
    found: list[tuple[str, Any, str]] = []
    for pattern in (_ENCODER, _DECODER):
        fitting: dict[int, tuple[str, Any, str]] = {}
        for name, model, way in models:
            if pattern.search(name):
                fitting.setdefault(id(model), (name, model, way))
        if len(fitting) != 1:
            held = f", but {', '.join(sorted({name for name, _, _ in models}))}" if models else ""
            raise ValueError(
                f"the model must be or give (encoder, decoder), two Keras models, or an object with attributes of "
                f"these names, but a {type(given).__name__} holds none{held}."
            )
        found += fitting.values()
    (first, encoder, to_encoder), (second, decoder, to_decoder) = found
    plain = (first, second) == ("encoder", "decoder")
    note = () if plain else (f"{first!r} is taken for the encoder and {second!r} for the decoder",)
    origin = Origin(encoder=to_encoder, decoder=to_decoder)
    return Pair(encoder=encoder, decoder=decoder, notes=note, origin=origin)


def _put_in_order(pair: Pair, features: int, latent_dim: int) -> Pair:
    """The pair, turned round where the first takes latents and the second rows."""
    takes = [_count_inputs(model) for model in (pair.encoder, pair.decoder)]
    by_name = bool(_DECODER.search(pair.encoder.name) and _ENCODER.search(pair.decoder.name))
    by_size = takes == [latent_dim, features] and latent_dim != features
    if not (by_size or (by_name and None in takes)):
        return pair
    note = f"{pair.decoder.name!r}, which takes rows, is taken for the encoder: it came second"
    origin = replace(pair.origin, encoder=pair.origin.decoder, decoder=pair.origin.encoder)
    return Pair(encoder=pair.decoder, decoder=pair.encoder, notes=(*pair.notes, note), origin=origin)


def _count_inputs(model: keras.layers.Layer) -> int | None:
    """How many numbers a model takes for one row; None where it does not say."""
    inputs = getattr(model, "inputs", None)
    if not inputs or len(inputs) != 1 or None in inputs[0].shape[1:]:
        return None
    count: int = math.prod(inputs[0].shape[1:])
    return count


def load_saved(file: Path) -> Any:
    """The model in a .keras file.

    Raises:
        CodeProblem: there is none, or it cannot be loaded.
    """
    if not file.is_file():
        raise CodeProblem(f"{file}: no such file")
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # whatever loading a class of the user's own raises
        said = " ".join(str(error).split())
        remedy = 'name a function that loads it, as model.kind = "my_vae:load", which may give custom_objects'
        if "safe_mode" in said or "Lambda" in said:
            remedy = "it holds Python code; " + remedy.replace("custom_objects", "safe_mode=False")
        reason = said.rpartition("Exception encountered: ")[2].partition(" Full object config")[0]  # the innermost
        reason = textwrap.shorten(reason, 240, placeholder=" …")
        raise CodeProblem(f"{file}: Keras cannot load it ({reason}); {remedy}") from error
