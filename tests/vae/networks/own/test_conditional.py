"""Factories of conditional models: what they are given and must give."""

from collections.abc import Callable

import pytest

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.networks.network import Network, dense_network
from klsearch.vae.networks.own.conditional import check_condition_argument, conditional_network


def conditional(
    input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...] = (0,)
) -> tuple[object, object]:
    network = dense_network(input_shape, latent_dim, hidden=[8], condition_width=condition_shape[0])
    return network.encoder, network.decoder


def unconditional(input_shape: tuple[int, ...], latent_dim: int) -> tuple[object, object]:
    return conditional(input_shape, latent_dim)


def demanding(input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]) -> tuple[object, object]:
    return conditional(input_shape, latent_dim, condition_shape)


def deaf(input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]) -> tuple[object, object]:
    del condition_shape
    return unconditional(input_shape, latent_dim)


def half_deaf(input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]) -> tuple[object, object]:
    return conditional(input_shape, latent_dim, condition_shape)[0], unconditional(input_shape, latent_dim)[1]


def taken(factory: Callable[..., object], width: int) -> Network:
    check_condition_argument(factory, width)
    return conditional_network(factory, (4,), 2, likelihood=GAUSSIAN, condition_width=width)


def test_a_factory_that_takes_condition_shape_gives_models_of_two_inputs() -> None:
    network = taken(conditional, 3)
    assert (network.input_shape, network.condition_width, len(network.decoder.inputs)) == ((4,), 3, 2)
    check_condition_argument(conditional, 0)


@pytest.mark.parametrize(
    ("factory", "width", "reason"),
    [
        (unconditional, 3, "data.condition is set, but the model factory has no parameter condition_shape"),
        (demanding, 0, "asks for condition_shape, but data.condition is not set; set it, or give it a default"),
        (deaf, 3, "the encoder takes no condition, but data.condition gives \\[n, 3\\]"),
        (half_deaf, 3, "the decoder must take \\[n, 2\\] and the condition \\[n, 3\\], but takes \\[None, 2\\]"),
    ],
)
def test_models_that_do_not_take_the_condition_are_refused(
    factory: Callable[..., tuple[object, object]], width: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        taken(factory, width)


def test_a_conditional_decoder_that_ends_in_a_sigmoid_is_refused_under_bernoulli() -> None:
    def ending(
        input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]
    ) -> tuple[object, object]:
        width = condition_shape[0]
        network = dense_network(input_shape, latent_dim, hidden=[8], output_activation="sigmoid", condition_width=width)
        return network.encoder, network.decoder

    with pytest.raises(ValueError, match="ends in a sigmoid, which 'bernoulli' has already"):
        conditional_network(ending, (4,), 2, likelihood=BERNOULLI, condition_width=3)
