"""Mixed bfloat16: products of 16 bits, everything that is measured or kept of 32."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from klsearch.vae.diagnostics.gates import final_kl
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.layers import SearchedDropout
from klsearch.vae.networks.convolutional import conv_network
from klsearch.vae.networks.network import Network, computing_in, dense_network
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.pairs import find_pair
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

pytestmark = pytest.mark.slow("compiles populations of many sizes")

Splits = dict[str, np.ndarray]
Train = Callable[[Population, int], None]
Bits = Callable[[Population, int], dict[str, bytes]]

SETTINGS = Hyperparameters(kl_weight=0.1, clip_low=-10, clip_high=2, l2=1e-4, encoder_dropout=0.1)
MIXED = "mixed_bfloat16"


def digits_network(precision: str = MIXED) -> Network:
    with computing_in(precision):
        return dense_network((64,), 8, hidden=[128, 64], output_activation="sigmoid")


def float32_population(network: Network, splits: Splits, slots: int, together: int | None = None) -> Population:
    return Population(network, splits, Objective(), slots=slots, together=together, batch_size=128)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_products_take_half_the_bits_but_heads_outputs_and_variables_do_not(kind: str) -> None:
    with computing_in(MIXED):
        network = (
            dense_network((8, 8), 4, hidden=[16], output_activation="sigmoid")
            if kind == "dense"
            else conv_network((8, 8), 4, filters=[4], hidden=[16], output_activation="sigmoid")
        )
    hidden = [layer for layer in network.encoder.layers if hasattr(layer, "kernel")][:-2]
    assert {layer.compute_dtype for layer in hidden} == {"bfloat16"}
    assert {network.encoder.get_layer(name).compute_dtype for name in ("z_mean", "z_log_var")} == {"float32"}
    assert network.decoder(np.zeros((1, 4))).dtype == "float32"
    variables = network.encoder.trainable_variables + network.decoder.trainable_variables
    assert {variable.dtype for variable in (*variables, network.searched_dropouts()[0].rate)} == {"float32"}


def test_layers_made_afterwards_compute_in_float32_even_if_the_block_fails() -> None:
    with pytest.raises(RuntimeError), computing_in(MIXED):
        raise RuntimeError
    assert keras.layers.Dense(2).compute_dtype == "float32"


def test_a_model_of_the_user_s_own_follows_and_is_measured_in_float32(digits: Splits, train: Train) -> None:
    def factory(shape: tuple[int, ...], latent_dim: int) -> tuple[keras.Model, keras.Model]:
        inputs, z = keras.Input(shape), keras.Input((latent_dim,))
        h = SearchedDropout()(keras.layers.Dense(32, activation="relu")(inputs))
        heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
        return keras.Model(inputs, heads), keras.Model(z, keras.layers.Dense(64)(z))

    with computing_in(MIXED):
        network = adopt(find_pair(factory, (64,), 4, {}), digits["train"], 4)
    assert network.encoder.compute_dtype == "bfloat16"
    members = float32_population(network, digits, slots=2)
    members.start(0, SETTINGS, 1)
    train(members, 3)
    kl = members.curves(0).validation_kl
    assert kl.dtype == np.float32
    assert np.isfinite(kl).all()
    measures = members.measure([0], "validation")[0]
    assert measures.reconstruction < members.curves(0).validation_reconstruction[0]


def test_it_comes_to_the_same_kl_and_reconstruction_within_what_seeds_differ_by(digits: Splits, train: Train) -> None:
    found = {}
    for precision in ("float32", MIXED):
        members = float32_population(digits_network(precision), digits, slots=6)
        for seed in range(6):
            members.start(seed, SETTINGS, seed)
        train(members, 12)
        kl = [final_kl(members.curves(slot), 5) for slot in range(6)]
        found[precision] = np.array(
            [kl, [measures.unexplained for measures in members.measure(range(6), "validation")]]
        )
    full, half = found["float32"], found[MIXED]
    assert not np.array_equal(full, half)
    assert np.all(np.abs(half.mean(axis=1) - full.mean(axis=1)) < 2 * full.std(axis=1, ddof=1))


def test_a_trial_has_the_same_bits_in_any_slot_and_company(digits: Splits, train: Train, bits: Bits) -> None:
    network, found = digits_network(), []
    for slots, together, slot in ((2, 2, 0), (4, 2, 3), (8, 8, 5)):
        members = float32_population(network, digits, slots, together)
        for other in range(slots):
            members.start(other, Hyperparameters(kl_weight=0.01 * other, encoder_dropout=0.3), 50 + other)
        members.start(slot, SETTINGS, 7)
        train(members, 2)
        found.append(bits(members, slot))
    assert found[0] == found[1] == found[2]


def test_plain_models_compute_in_the_same_precision(digits: Splits, train: Train) -> None:
    network = digits_network()
    members = float32_population(network, digits, slots=2)
    members.start(0, SETTINGS, 1)
    train(members, 1)
    models = plain_models(network, members.member(0))
    assert {layer.compute_dtype for layer in models.encoder.layers if isinstance(layer, keras.layers.Dropout)} == {
        "bfloat16"
    }
    assert models.decoder(models.encoder(digits["test"])[0]).dtype == "float32"
