"""The outputs of an encoder that are z_mean and z_log_var, and the layers behind them."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.networks.own.heads import Heads, take_heads

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

ROWS = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)


@pytest.fixture
def inputs() -> keras.KerasTensor:
    return keras.Input((4,), name="rows")


def linear(units: int, name: str | None = None) -> keras.layers.Dense:
    return keras.layers.Dense(units, name=name)


def heads_of(inputs: keras.KerasTensor, outputs: Any, *named: str) -> Heads:
    return take_heads(keras.Model(inputs, outputs), [ROWS], named)


class Sampling(keras.layers.Layer):
    """As in Keras's example."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs: Sequence[Any]) -> Any:
        mean, log_var = inputs
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_var) * noise


class Pass(keras.layers.Layer):
    """Gives on what it takes, as a layer that adds a KL does."""

    def call(self, inputs: Sequence[Any]) -> Any:
        return list(inputs)


class Subclassed(keras.Model):
    """A class without a graph."""

    def __init__(self, *, squashed: bool = False, turned: bool = False, sampled: bool = False) -> None:
        super().__init__()
        self.hidden = linear(8)
        self.fc_mu, self.fc_logvar = linear(2), linear(2)
        self.norm = keras.layers.BatchNormalization() if squashed else keras.layers.Identity()
        self.sampling, self.turned = Sampling() if sampled else None, turned

    def call(self, rows: Any) -> Any:
        h = keras.ops.relu(self.hidden(rows))
        mean, log_var = self.norm(self.fc_mu(h)), self.norm(self.fc_logvar(h))
        pair = (log_var, mean) if self.turned else (mean, log_var)
        return pair if self.sampling is None else (*pair, self.sampling([mean, log_var]))


def test_two_outputs_in_a_list_are_taken_as_they_are(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2), linear(2)
    encoder = keras.Model(inputs, [mean(inputs), log_var(inputs)])
    heads = take_heads(encoder, [ROWS], ())
    assert heads.encoder is encoder
    assert (heads.places, heads.layers, heads.notes) == ((0, 1), (mean, log_var), ())


def test_heads_are_found_behind_layers_without_a_kernel(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2), linear(2)
    outputs = [
        keras.layers.BatchNormalization()(mean(inputs)),
        keras.layers.Activation("tanh")(keras.layers.Dropout(0.1)(log_var(inputs))),
    ]
    assert heads_of(inputs, outputs).layers == (mean, log_var)


def test_heads_are_found_inside_a_nested_model(inputs: keras.KerasTensor) -> None:
    inner = keras.Input((3,))
    mean, log_var = linear(2), linear(2)
    nested = keras.Model(inner, [mean(inner), log_var(inner)])
    assert heads_of(inputs, nested(linear(3)(inputs))).layers == (mean, log_var)


def test_a_layer_used_twice_is_followed_where_the_head_used_it(inputs: keras.KerasTensor) -> None:
    squash = keras.layers.Activation("tanh")
    mean, log_var = linear(2), linear(2)
    hidden = squash(linear(3)(inputs))
    assert heads_of(inputs, [mean(hidden), squash(log_var(hidden))]).layers == (mean, log_var)


def test_heads_are_found_through_a_layer_that_gives_on_both(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2), linear(2)
    assert heads_of(inputs, Pass()([mean(inputs), log_var(inputs)])).layers == (mean, log_var)


def test_heads_that_share_a_layer_share_its_kernel(inputs: keras.KerasTensor) -> None:
    both = linear(4)
    heads = heads_of(inputs, list(keras.ops.split(both(inputs), 2, axis=1)))
    assert heads.kernels == (both.kernel, both.kernel)


def test_heads_without_a_kernel_are_refused(inputs: keras.KerasTensor) -> None:
    outputs = [keras.layers.Activation("tanh")(inputs), keras.layers.Activation("relu")(inputs)]
    with pytest.raises(ValueError, match=r"found no layer with a kernel .* model\.latent_heads"):
        heads_of(inputs, outputs)


def test_a_third_output_that_is_drawn_is_left_out_and_said(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2)(inputs), linear(2)(inputs)
    heads = heads_of(inputs, [mean, log_var, Sampling(name="z")([mean, log_var])])
    assert heads.places == (0, 1)
    assert len(heads.encoder.outputs) == 2
    (note,) = heads.notes
    assert re.fullmatch(
        r"of the encoder's outputs '\w+' is taken for z_mean and '\w+' for z_log_var; 'z' is left out: samples are "
        "drawn by klsearch",
        note,
    )


def test_names_that_are_plain_are_not_repeated(inputs: keras.KerasTensor) -> None:
    outputs = [linear(2, name)(inputs) for name in ("z_mean", "z_log_var")]
    assert heads_of(inputs, outputs).notes == ()
    heads = heads_of(inputs, [*outputs, *[Sampling(name=name)(outputs) for name in ("z", "more")]])
    assert heads.notes == ("of the encoder's outputs 'z' and 'more' are left out: samples are drawn by klsearch",)


def test_names_tell_outputs_apart_in_any_order(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2, "z_mean"), linear(2, "z_log_var")
    named = heads_of(inputs, {"z_log_var": log_var(inputs), "z_mean": mean(inputs)})
    listed = heads_of(inputs, [log_var(inputs), mean(inputs)])
    for heads in (named, listed):
        assert heads.layers == (mean, log_var)
        np.testing.assert_array_equal(heads.encoder(ROWS)[0], mean(ROWS))
        np.testing.assert_array_equal(heads.encoder(ROWS)[1], log_var(ROWS))
    assert "'z_mean' is taken for z_mean" in listed.notes[0]


def test_outputs_without_telling_names_are_asked_for_in_one_line(inputs: keras.KerasTensor) -> None:
    outputs = [linear(2, name)(inputs) for name in ("a", "b", "c")]
    with pytest.raises(ValueError, match=r'gives 3 outputs, a, b, c: name .* model\.latent_heads = \["a", "b"\]\.$'):
        heads_of(inputs, outputs)
    heads = heads_of(inputs, outputs, "c", "a")
    assert [layer.name for layer in heads.layers] == ["c", "a"]
    assert heads.places == (2, 0)


def test_one_output_is_cut_in_two(inputs: keras.KerasTensor) -> None:
    both = linear(4)
    heads = heads_of(inputs, both(inputs))
    mean, log_var = heads.encoder(ROWS)
    np.testing.assert_array_equal(keras.ops.concatenate([mean, log_var], axis=1), both(ROWS))
    assert heads.places == (0, 0)
    assert heads.notes == ("the encoder gives 4 numbers: the first 2 are taken for z_mean, the others for z_log_var",)


def test_heads_inside_an_encoder_that_gives_a_sample_are_found_by_name(inputs: keras.KerasTensor) -> None:
    mean, log_var = linear(2, "z_mean"), linear(2, "z_log_var")
    heads = heads_of(inputs, Sampling()([mean(inputs), log_var(inputs)]))
    assert (heads.layers, heads.places) == ((mean, log_var), None)
    first, second = linear(3, "first"), linear(3, "second")
    sample = Sampling()([first(inputs), second(inputs)])
    with pytest.raises(ValueError, match=r"one output of shape \[None, 3\]; .* model\.latent_heads"):
        heads_of(inputs, sample)
    assert heads_of(inputs, sample, "first", "second").layers == (first, second)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_class_without_a_graph_has_its_heads_found_by_what_moves_its_outputs(sampled: bool) -> None:
    encoder = Subclassed(sampled=sampled)
    heads = take_heads(encoder, [ROWS], ())
    assert heads.layers == (encoder.fc_mu, encoder.fc_logvar)
    assert [tuple(output.shape) for output in heads.encoder(ROWS)] == [(32, 2), (32, 2)]


def test_a_class_that_gives_them_in_reversed_order_is_turned_round_by_its_names() -> None:
    encoder = Subclassed(turned=True)
    heads = take_heads(encoder, [ROWS], ())
    assert heads.layers == (encoder.fc_mu, encoder.fc_logvar)
    np.testing.assert_allclose(heads.encoder(ROWS)[0], encoder(ROWS)[1], rtol=1e-6)
    assert heads.notes == ("the encoder gives 'fc_logvar' before 'fc_mu': 'fc_mu' is taken for z_mean",)


@pytest.mark.parametrize(("turned", "sampled"), [(False, False), (True, False), (False, True), (True, True)])
def test_named_layers_of_a_class_say_which_output_is_which(turned: bool, sampled: bool) -> None:
    encoder = Subclassed(turned=turned, sampled=sampled)
    encoder(ROWS)
    mean, log_var = (encoder.fc_mu, encoder.fc_logvar)
    for name, layer, names in (("mu", mean, ("fc_mu", "fc_logvar")), ("logvar", log_var, ("fc_logvar", "fc_mu"))):
        heads = take_heads(encoder, [ROWS], names)
        hidden = keras.ops.relu(encoder.hidden(ROWS))
        np.testing.assert_allclose(heads.encoder(ROWS)[0], layer(hidden), rtol=1e-5, atol=1e-6, err_msg=name)
        assert heads.layers[0] is layer
        assert heads.places == ((0, 1) if (layer is mean) is not turned else (1, 0))
        assert heads.notes == ()


class OneOutput(Subclassed):
    """Gives both in one."""

    def call(self, rows: Any) -> Any:
        return keras.ops.concatenate(super().call(rows), axis=1)


def test_named_halves_of_one_output_must_come_in_this_order() -> None:
    assert take_heads(OneOutput(), [ROWS], ("fc_mu", "fc_logvar")).places == (0, 0)
    with pytest.raises(ValueError, match=r"^the encoder's one output begins with 'fc_logvar'; let z_mean be its first"):
        take_heads(OneOutput(turned=True), [ROWS], ("fc_mu", "fc_logvar"))


@pytest.mark.parametrize("named", [("fc_mu", "fc_log_var"), ("mu", "fc_logvar")])
def test_a_name_of_nothing_is_refused_with_what_there_is(named: tuple[str, str], inputs: keras.KerasTensor) -> None:
    with pytest.raises(
        ValueError, match=r"no layer '(mu|fc_log_var)' .*; layers with a kernel: fc_logvar, fc_mu, hidd"
    ):
        take_heads(Subclassed(), [ROWS], named)
    with pytest.raises(ValueError, match=r"no output and no layer '.*' for model.latent_heads; outputs: a, b; layers "):
        heads_of(inputs, [linear(2, "a")(inputs), linear(2, "b")(inputs)], *named)


def test_heads_that_no_output_follows_are_named_by_the_user() -> None:
    encoder = Subclassed(squashed=True)
    encoder(ROWS)
    encoder.norm.moving_variance.assign([4.0, 9.0])  # so that no output moves as its head does
    with pytest.raises(ValueError, match=r"name them in model\.latent_heads .* fc_logvar, fc_mu, hidden\.$"):
        take_heads(encoder, [ROWS], ())
    assert take_heads(encoder, [ROWS], ("fc_mu", "fc_logvar")).layers == (encoder.fc_mu, encoder.fc_logvar)
    encoder.turned = True
    turned = take_heads(encoder, [ROWS], ("fc_mu", "fc_logvar"))
    assert turned.places == (1, 0), "each output still depends on one of them alone"
    (note,) = take_heads(encoder, [ROWS], ("hidden", "fc_mu")).notes
    assert note == "which outputs 'hidden' and 'fc_mu' give cannot be told: the first is taken for z_mean"


def test_rows_are_shaped_as_the_encoder_takes_them() -> None:
    images = np.random.default_rng(0).normal(size=(32, 6, 6)).astype(np.float32)
    inputs = keras.Input((6, 6, 1))
    h = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(inputs))
    encoder = keras.Model(inputs, [linear(2)(h), linear(2)(h)])
    heads = take_heads(encoder, [images], ())
    assert heads.encoder.input_shape == (None, 6, 6)
    np.testing.assert_allclose(heads.encoder(images)[0], encoder(images[..., None])[0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"takes rows of shape \[6, 6, 1\], not \[5, 6\]"):
        take_heads(encoder, [images[:, :5]], ())


def test_the_outputs_must_be_vectors_of_one_size(inputs: keras.KerasTensor) -> None:
    for outputs in ([linear(2)(inputs), linear(3)(inputs)], [keras.layers.Reshape((2, 2))(inputs)] * 2):
        with pytest.raises(ValueError, match=r"both have shape \[n, latent_dim\], but have \[\[None, 2"):
            heads_of(inputs, outputs)


@pytest.mark.parametrize("pack", [lambda tensor: [tensor], lambda tensor: {"rows": tensor}])
def test_an_encoder_that_takes_a_list_or_dictionary_of_one_is_given_rows(
    pack: Callable[[Any], Any], inputs: keras.KerasTensor
) -> None:
    mean, log_var = linear(2), linear(2)
    heads = take_heads(keras.Model(pack(inputs), [mean(inputs), log_var(inputs)]), [ROWS], ())
    np.testing.assert_array_equal(heads.encoder(ROWS)[0], mean(ROWS))


def test_a_name_that_speaks_of_a_standard_deviation_is_told(inputs: keras.KerasTensor) -> None:
    (note,) = heads_of(inputs, [linear(2, "z_mean")(inputs), linear(2, "z_log_sigma")(inputs)]).notes
    assert note.startswith("'z_log_sigma' is taken for a log-variance; if it is the logarithm of a standard deviation")
