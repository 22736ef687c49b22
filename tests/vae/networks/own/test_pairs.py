"""The encoder and the decoder in whatever a user names."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from klsearch.vae.host.own_code import CodeProblem
from klsearch.vae.networks.own.pairs import Origin, Pair, find_pair, load_saved

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4


def models(features: int = 4, latent_dim: int = 2) -> tuple[keras.Model, keras.Model]:
    rows, z = keras.Input((features,)), keras.Input((latent_dim,))
    heads = [keras.layers.Dense(latent_dim)(rows) for _ in range(2)]
    return keras.Model(rows, heads, name="encoder"), keras.Model(z, keras.layers.Dense(features)(z), name="decoder")


ENCODER, DECODER = models()


class Whole(keras.Model):
    """As in Keras's example: made of two models."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder


class OfItself(keras.Model):
    """Makes its own parts, under names of its own."""

    def __init__(self, latent_dim: int = 2) -> None:
        super().__init__()
        self.inference_net, self.generative_net = models(latent_dim=latent_dim)


class Stepping(Whole):
    """With a training step of its own."""

    def train_step(self, data: Any) -> dict[str, Any]:
        return {"loss": 0.0}


def test_a_training_step_of_their_own_is_said_not_to_be_called() -> None:
    assert found(Whole(ENCODER, DECODER)).notes == ()
    (note,) = found(Stepping, encoder=ENCODER, decoder=DECODER).notes
    assert note.startswith("Stepping.train_step is not called: ")


def whole_graph() -> keras.Model:
    rows = keras.Input((4,))
    encoder, decoder = models()
    return keras.Model(rows, decoder(encoder(rows)[0]))


def found(named: Any, **beside: Any) -> Pair:
    return find_pair(named, (4,), 2, beside)


@pytest.mark.parametrize(
    "named",
    [
        (ENCODER, DECODER),
        [ENCODER, DECODER],
        (ENCODER, DECODER, Whole(ENCODER, DECODER, name="vae")),
        {"decoder": DECODER, "encoder": ENCODER},
        {"vae_decoder": DECODER, "vae_encoder": ENCODER},
        SimpleNamespace(encoder=ENCODER, decoder=DECODER),
        Whole(ENCODER, DECODER),
        lambda: (ENCODER, DECODER),
        lambda: Whole(ENCODER, DECODER),
        lambda shape, latents: (ENCODER, DECODER) if (shape, latents) == ((4,), 2) else None,
        lambda latent_dim, original_dim: (ENCODER, DECODER) if (latent_dim, original_dim) == (2, 4) else None,
        lambda hidden=64: (ENCODER, DECODER) if hidden == 64 else None,
        lambda shape="round", features=("a", "b"): (
            (ENCODER, DECODER) if (shape, len(features)) == ("round", 2) else None
        ),
        lambda *sizes: (ENCODER, DECODER) if sizes == ((4,), 2) else None,
    ],
)
def test_two_models_are_found_in_what_people_have(named: Any) -> None:
    pair = found(named)
    assert (pair.encoder, pair.decoder) == (ENCODER, DECODER)


def told_shape(input_shape: tuple[int, ...], latent_dim: int) -> Any:
    return models() if (input_shape, latent_dim) == ((4,), 2) else None


@pytest.mark.parametrize(
    ("named", "origin"),
    [
        ((ENCODER, DECODER), Origin()),
        ([DECODER, ENCODER], Origin(encoder="[1]", decoder="[0]")),
        (
            {"vae_decoder": DECODER, "vae_encoder": ENCODER},
            Origin(encoder="['vae_encoder']", decoder="['vae_decoder']"),
        ),
        (lambda: (ENCODER, DECODER), Origin(call="()")),
        (told_shape, Origin(call="(input_shape=(4,), latent_dim=2)")),
        (lambda *sizes: (ENCODER, DECODER), Origin(call="((4,), 2)")),
        (
            OfItself,
            Origin(call="(latent_dim=2)", encoder=".inference_net", decoder=".generative_net", made_by=OfItself),
        ),
        (whole_graph(), Origin(encoder=".get_layer('encoder')", decoder=".get_layer('decoder')")),
    ],
)
def test_how_the_models_come_from_what_was_named_is_told_as_python(named: Any, origin: Origin) -> None:
    assert found(named).origin == origin


def test_models_that_a_class_takes_from_its_module_are_named_after_that() -> None:
    origin = found(Whole, encoder=ENCODER, decoder=DECODER).origin
    assert origin.call == "(encoder={module}.encoder, decoder={module}.decoder)"


def test_a_class_that_takes_both_is_given_those_of_its_module() -> None:
    pair = found(Whole, encoder=ENCODER, decoder=DECODER)
    assert (pair.encoder, pair.decoder) == (ENCODER, DECODER)
    with pytest.raises(ValueError, match=r"^Whole\(\) needs 'encoder' and 'decoder', and nobody knows what to give"):
        found(Whole)


def test_parts_of_other_names_are_found_and_said() -> None:
    pair = found(OfItself)
    assert pair.notes == ("'inference_net' is taken for the encoder and 'generative_net' for the decoder",)
    assert len(pair.encoder.outputs) == 2


def test_the_models_inside_a_graph_are_found_by_name() -> None:
    pair = found(whole_graph())
    assert [pair.encoder.name, pair.decoder.name] == ["encoder", "decoder"]


def test_models_in_the_wrong_order_are_turned_round_and_it_is_said() -> None:
    pair = found((DECODER, ENCODER))
    assert (pair.encoder, pair.decoder) == (ENCODER, DECODER)
    assert pair.notes == ("'encoder', which takes rows, is taken for the encoder: it came second",)


@pytest.mark.parametrize("given", [None, "vae", (DECODER, None), (DECODER,), keras.Sequential(), SimpleNamespace()])
def test_what_holds_no_two_models_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^the model must be or give \(encoder, decoder\), two Keras models, or .*$"):
        found(lambda: given)


def test_a_function_that_needs_what_nobody_knows_is_refused_by_its_argument() -> None:
    def build(input_shape: tuple[int, ...], width: int, depth: int) -> None:
        del input_shape, width, depth

    with pytest.raises(ValueError, match=r"^build\(\) needs 'width' and 'depth', and nobody knows"):
        found(build)


class Weighted(Whole):
    """With a setting that has no default."""

    def __init__(self, latent_dim: int, beta: float) -> None:
        super().__init__(*models(latent_dim=latent_dim))
        self.beta = beta


def hidden(latent_dim: int, hidden_dim: int) -> Any:
    return models(latent_dim=latent_dim, features=hidden_dim)


def by_keyword(latent_dim: int, *, beta: float) -> Any:
    return models(latent_dim=latent_dim) if beta else None


def of_features(beta: float, input_dim: int) -> Any:
    return models(features=input_dim) if beta else None


@pytest.mark.parametrize(
    ("named", "unknown"),
    [(Weighted, "beta"), (hidden, "hidden_dim"), (by_keyword, "beta"), (of_features, "beta")],
)
def test_an_argument_of_a_known_name_never_gets_what_another_means(named: Any, unknown: str) -> None:
    words = rf"^{named.__name__}\(\) needs '{unknown}', and nobody knows what to give for it"
    with pytest.raises(ValueError, match=words):
        found(named)


def told(input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...] = (0,)) -> Any:
    return (ENCODER, DECODER) if (input_shape, latent_dim, condition_shape) == ((4,), 2, (3,)) else None


@pytest.mark.parametrize(
    "named",
    [
        told,
        lambda rows, d, condition_shape: told(rows, d, condition_shape),
        lambda input_shape, latent_dim, **others: told(input_shape, latent_dim, **others),
        (ENCODER, DECODER),
    ],
)
def test_a_function_is_told_how_wide_the_condition_is(named: Any) -> None:
    pair = find_pair(named, (4,), 2, {}, 3)
    assert (pair.encoder, pair.decoder) == (ENCODER, DECODER)


def test_a_class_that_is_given_both_models_needs_no_condition() -> None:
    pair = find_pair(Whole, (4,), 2, {"encoder": ENCODER, "decoder": DECODER}, 3)
    assert (pair.encoder, pair.decoder) == (ENCODER, DECODER)


def test_a_condition_that_is_asked_for_must_be_there() -> None:
    def demanding(input_shape: tuple[int, ...], latent_dim: int, condition_shape: tuple[int, ...]) -> None:
        del input_shape, latent_dim, condition_shape

    with pytest.raises(
        ValueError, match=r"asks for condition_shape, but data\.condition is not set; set it, or give it"
    ):
        found(demanding)


def saved(path: Path, model: keras.Model) -> Path:
    model.save(path)
    return path


def test_a_saved_model_gives_what_was_saved(tmp_path: Path) -> None:
    pair = found(load_saved(saved(tmp_path / "vae.keras", whole_graph())))
    assert pair.encoder(np.zeros((3, 4)))[0].shape == (3, 2)
    assert pair.decoder(np.zeros((3, 2))).shape == (3, 4)


class Odd(keras.layers.Layer):
    """A class that Keras was not told of."""

    def call(self, inputs: Any) -> Any:
        return inputs


def odd() -> keras.Model:
    rows = keras.Input((4,))
    return keras.Model(rows, Odd()(rows))


def coded() -> keras.Model:
    rows = keras.Input((4,))
    return keras.Model(rows, keras.layers.Lambda(lambda values: values + 1)(rows))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (coded, "it holds Python code; name a function that loads it, as model.kind = \"my_vae:load\", which may give "
         "safe_mode=False"),
        (odd, "which may give custom_objects"),
        (odd, "cannot load it (Could not locate class 'Odd'. "),
    ],
)  # fmt: skip
def test_a_saved_model_that_keras_cannot_load_is_refused_with_the_way_out(
    tmp_path: Path, make: Callable[[], keras.Model], words: str
) -> None:
    file = saved(tmp_path / "vae.keras", make())
    with pytest.raises(CodeProblem) as caught:
        load_saved(file)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeProblem, match=r"vae\.keras: no such file$"):
        load_saved(tmp_path / "vae.keras")
