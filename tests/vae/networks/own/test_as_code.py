"""A user's models as Python: that leads where it says."""

from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.networks.network import dense_network
from klsearch.vae.networks.own.adoption import adopt
from klsearch.vae.networks.own.as_code import OwnCode, own_code, way_to
from klsearch.vae.networks.own.fresh import making_models
from klsearch.vae.networks.own.pairs import Origin, find_pair
from tests.vae.networks.own import styles

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).uniform(size=(60, 8, 8)).astype(np.float32)


def told(named: Any, rows: np.ndarray = ROWS, **options: Any) -> tuple[OwnCode, Any]:
    with making_models():
        pair = find_pair(named, rows.shape[1:], styles.LATENT_DIM, {})
        network = adopt(pair, rows, styles.LATENT_DIM, likelihood=BERNOULLI, **options)
    code = own_code(network)
    assert code is not None
    return code, pair.encoder


def test_the_keras_example_is_told_by_its_layers_names() -> None:
    code, _ = told(styles.keras_example)
    assert code.origin == Origin(call="()", encoder=".encoder", decoder=".decoder")
    assert (code.rows, code.latents) == ("ops.reshape(rows, (-1, 8, 8, 1))", "z")
    assert (code.heads, code.decoded) == (("given[0]", "given[1]"), "given")
    assert code.kernels == (".get_layer('z_mean')", ".get_layer('z_log_var')")
    assert code.sigmoid == ".layers[4]", "a layer that Keras named is counted"
    assert (code.inside, code.silenced, dict(code.dropouts), code.probabilities) == ((), (), {}, False)


def test_one_output_that_is_cut_in_two_has_both_heads_in_one_layer() -> None:
    code, encoder = told(styles.Cvae)
    assert code.origin == Origin(call="(latent_dim=4)", encoder=".encoder", decoder=".decoder", made_by=styles.Cvae)
    assert code.heads == tuple(f"ops.split(given, 2, axis=1)[{place}]" for place in (0, 1))
    assert len(set(code.kernels)) == 1
    assert eval(f"encoder{code.kernels[0]}", {"encoder": encoder}) is encoder.layers[-1]


def test_a_layer_s_own_kl_and_dropouts_are_told_of_a_dictionary_of_models() -> None:
    code, encoder = told(styles.dense_with_added_loss, ROWS.reshape(60, 64), searched_dropout="all")
    assert (code.origin.encoder, code.origin.decoder) == ("['encoder']", "['decoder']")
    (way,) = code.silenced
    assert type(eval(f"encoder{way}", {"encoder": encoder})).__name__ == "KlDivergence"
    ((way, is_variable),) = code.dropouts.items()
    assert eval(f"encoder{way}", {"encoder": encoder}).own_rate == 0.2
    assert not is_variable


def test_layers_of_a_class_are_its_attributes() -> None:
    code, _ = told(styles.Subclassed, ROWS.reshape(60, 64), searched_dropout=["dropout"])
    assert code.kernels == (".dense_mean", ".dense_log_var")
    assert list(code.dropouts) == [".dropout"]
    assert code.sigmoid == ".dense_output"


class Holder(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [keras.layers.Dense(1), keras.Sequential([keras.layers.Dense(2, name="deep")])]
        self.by_name = {"a": keras.layers.Dense(3)}
        self._hidden = keras.layers.Dense(4)


def test_a_way_leads_through_lists_dictionaries_and_models_but_no_private_attribute() -> None:
    holder = Holder()
    deep = holder.blocks[1].layers[0]
    holder.blocks[1].build((None, 1))
    for layer in (holder.blocks[0], deep, holder.by_name["a"]):
        way = way_to(holder, layer)
        assert way is not None
        assert eval(f"holder{way}", {"holder": holder}) is layer
    assert way_to(holder, deep) == ".blocks[1].get_layer('deep')"
    assert way_to(holder, holder._hidden) is None
    assert way_to(holder, holder) == ""


def test_a_network_of_ours_has_no_code_of_a_user_s() -> None:
    assert own_code(dense_network((4,), 2, hidden=[8])) is None
