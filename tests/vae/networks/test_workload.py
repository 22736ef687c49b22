"""What an architecture costs is counted as Keras builds it."""

import math
from typing import Any

import keras
import pytest

from klsearch.vae.networks.convolutional import conv1d_network, conv_network
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.recurrent import recurrent_network
from klsearch.vae.networks.workload import (
    CELLS,
    Workload,
    conv1d_workload,
    conv_workload,
    dense_workload,
    recurrent_workload,
)

DENSE: list[tuple[tuple[int, ...], int, list[int]]] = [((6,), 3, [16]), ((8, 8), 8, [128, 64]), ((28, 28, 3), 2, [])]
CONV: list[tuple[tuple[int, ...], int, list[int], list[int]]] = [
    ((8, 8), 4, [8], []),
    ((28, 28), 8, [16, 32], [64]),
    ((9, 13, 3), 5, [4, 8, 8], [20, 10]),
]


def counted(network: Network) -> Workload:
    """The same of the built models: a kernel is applied once, or at every place of a convolution."""
    multiply_adds = activations = 0
    models = (network.encoder, network.decoder)
    for layer in (layer for model in models for layer in model.layers if hasattr(layer, "kernel")):
        is_transposed = isinstance(layer, keras.layers.Conv2DTranspose | keras.layers.Conv1DTranspose)
        at = layer.input if is_transposed else layer.output
        multiply_adds += math.prod(layer.kernel.shape) * math.prod(at.shape[1:-1])
        activations += math.prod(layer.output.shape[1:])
    weights: list[Any] = [variable for model in models for variable in model.trainable_variables]
    return Workload(
        multiply_adds=multiply_adds, weights=sum(math.prod(value.shape) for value in weights), activations=activations
    )


@pytest.mark.parametrize(("shape", "latent_dim", "hidden"), DENSE)
def test_a_dense_model_is_counted_as_it_is_built(shape: tuple[int, ...], latent_dim: int, hidden: list[int]) -> None:
    network = dense_network(shape, latent_dim, hidden=hidden)
    assert dense_workload(shape, latent_dim, hidden=hidden) == counted(network)


@pytest.mark.parametrize(("shape", "latent_dim", "filters", "hidden"), CONV)
def test_a_convolutional_model_is_counted_as_it_is_built(
    shape: tuple[int, ...], latent_dim: int, filters: list[int], hidden: list[int]
) -> None:
    network = conv_network(shape, latent_dim, filters=filters, hidden=hidden)
    assert conv_workload(shape, latent_dim, filters=filters, hidden=hidden) == counted(network)


@pytest.mark.parametrize(
    ("shape", "filters", "hidden", "told"), [((12, 3), [4], [], 0), ((25,), [4, 8], [10], 0), ((7, 2), [3, 5], [6], 2)]
)
def test_a_convolutional_model_of_series_is_counted_as_it_is_built(
    shape: tuple[int, ...], filters: list[int], hidden: list[int], told: int
) -> None:
    network = conv1d_network(shape, 3, filters=filters, hidden=hidden, condition_width=told)
    assert conv1d_workload(shape, 3, filters=filters, hidden=hidden, condition_width=told) == counted(network)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("shape", "hidden", "told"), [((12, 3), [4], 0), ((25,), [8, 5], 0), ((7, 2), [8, 5], 2)])
def test_a_recurrent_model_is_counted_as_it_is_built(
    cell: str, shape: tuple[int, ...], hidden: list[int], told: int
) -> None:
    network = recurrent_network(shape, 3, hidden=hidden, cell=cell, condition_width=told)
    expected = counted(network)  # of all but the recurrent layers, and of all weights
    for layer in (layer for model in (network.encoder, network.decoder) for layer in model.layers):
        if isinstance(layer, keras.layers.RNN):
            kernels = layer.cell.kernel, layer.cell.recurrent_kernel
            expected += Workload(
                multiply_adds=shape[0] * sum(math.prod(kernel.shape) for kernel in kernels),
                weights=0,
                activations=shape[0] * layer.units,
            )
    assert recurrent_workload(shape, 3, hidden=hidden, cell=cell, condition_width=told) == expected


@pytest.mark.parametrize(("filters", "hidden"), [(None, [16, 8]), ([4], [8])])
def test_a_conditional_model_is_counted_as_it_is_built(filters: list[int] | None, hidden: list[int]) -> None:
    if filters is None:
        found = dense_workload((8, 8), 3, hidden=hidden, condition_width=5)
        assert found == counted(dense_network((8, 8), 3, hidden=hidden, condition_width=5))
    else:
        found = conv_workload((8, 8), 3, filters=filters, hidden=hidden, condition_width=5)
        assert found == counted(conv_network((8, 8), 3, filters=filters, hidden=hidden, condition_width=5))


def test_the_digits_model_has_the_products_that_one_counts_by_hand() -> None:
    encoder = 64 * 128 + 128 * 64 + 64 * 2 * 8
    decoder = 8 * 64 + 64 * 128 + 128 * 64
    assert dense_workload((8, 8), 8, hidden=[128, 64]).multiply_adds == encoder + decoder


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_has_as_many_kernels_and_biases_as_it_is_counted_by(name: str) -> None:
    cell = CELLS[name]
    layer = getattr(keras.layers, cell.layer)(3)
    layer.build((None, 7, 2))
    kernel, recurrent, bias = layer.trainable_variables
    assert kernel.shape == (2, cell.gates * 3)
    assert recurrent.shape == (3, cell.gates * 3)
    assert bias.shape == ((2, cell.gates * 3) if cell.biases == 2 else (cell.gates * 3,))
