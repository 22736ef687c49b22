"""A user's own conditional models, which are told something of each row as their second input."""

import inspect
from typing import Any

import keras

from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.network import Network
from klsearch.vae.networks.own.heads import layer_behind

_GIVES_ON = (keras.layers.Reshape, keras.layers.Flatten)


def check_condition_argument(maker: Any, condition_width: int) -> None:
    """Refuse a function or class that is not told of the condition, or that asks for one where there is none.

    Raises:
        ValueError: so.
    """
    known = inspect.signature(maker).parameters if callable(maker) else {}
    one = known.get("condition_shape")
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if condition_width and one is None and not takes_any:
        raise ValueError(
            "data.condition is set, but the model factory has no parameter condition_shape; name a function "
            "(input_shape, latent_dim, condition_shape) that gives an encoder and a decoder of two inputs each."
        )
    if not condition_width and one is not None and one.default is one.empty:
        raise ValueError(
            "the model factory asks for condition_shape, but data.condition is not set; set it, or give it a default."
        )


def conditional_network(
    factory: Any, input_shape: tuple[int, ...], latent_dim: int, *, likelihood: Likelihood, condition_width: int
) -> Network:
    """The network of a factory (input_shape, latent_dim, condition_shape) → (encoder, decoder).

    Both are functional models whose second input is the condition, [n, numbers].

    Raises:
        ValueError: what the factory gives is not two such models that fit together.
    """
    built = factory(input_shape, latent_dim, condition_shape=(condition_width,))
    if not (isinstance(built, list | tuple) and len(built) == 2 and all(isinstance(one, keras.Model) for one in built)):
        raise ValueError(f"the model factory must give (encoder, decoder), two Keras models, but gave {built!r}.")
    network = Network(encoder=built[0], decoder=built[1], outputs=len(likelihood.parts))
    decoders = {id(variable) for variable in network.decoder.variables}
    shared = [variable.path for variable in network.encoder.variables if id(variable) in decoders]
    if shared:
        raise ValueError(f"encoder and decoder share {shared[0]!r}; each must have variables of its own.")
    if network.input_shape != input_shape:
        raise ValueError(f"the encoder takes rows of shape {list(network.input_shape)}, not {list(input_shape)}.")
    if network.latent_dim != latent_dim:
        raise ValueError(f"the encoder has {network.latent_dim} latents, but latent_dim is {latent_dim}.")
    if network.condition_width != condition_width:
        taken = f"a condition [n, {network.condition_width}]" if network.condition_width else "no condition"
        raise ValueError(f"the encoder takes {taken}, but data.condition gives [n, {condition_width}].")
    if None in [layer_behind(output) for output in network.encoder.outputs]:
        raise ValueError(
            "found no layer with a kernel to regularise behind an encoder output; let a Dense layer give z_mean and "
            "another z_log_var."
        )
    if likelihood.name == "bernoulli" and _ends_in_sigmoid(network.decoder.outputs[0]):
        raise ValueError("the decoder ends in a sigmoid, which 'bernoulli' has already; let it end in no activation.")
    return network


def _ends_in_sigmoid(tensor: keras.KerasTensor) -> bool:
    operation, node, _ = tensor._keras_history
    if isinstance(operation, _GIVES_ON):
        return _ends_in_sigmoid(operation._inbound_nodes[node].input_tensors[0])
    activation = getattr(operation, "activation", None)
    return type(operation).__name__ == "Sigmoid" or getattr(activation, "__name__", "") == "sigmoid"
