"""The network and the population that a definition asks for."""

import math
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from klsearch.search.layout import Layout
from klsearch.search.training.models import build_network, build_population, weighting_of
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.hyperparameters import BEFORE
from klsearch.vae.training.weighting import ControlledWeight, OptimalVariance

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4

Klsearch = Callable[..., "Called"]


MODEL = """\
import keras


def build(input_shape, latent_dim):
    rows, z = keras.Input(input_shape), keras.Input((latent_dim,))
    print("built for", *input_shape)
    heads = [keras.layers.Dense(latent_dim)(rows) for _ in range(2)]
    return keras.Model(rows, heads), keras.Model(z, keras.layers.Dense(*input_shape)(z))
"""


@pytest.fixture
def own_model(definition_file: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module that the small definition's model comes from now; it lies beside the definition."""
    text = definition_file.read_text().replace('kind = "dense"\nhidden = [16]', 'kind = "mine:build"')
    definition_file.write_text(text.replace("encoder_dropout = { low = 0.0, high = 0.4 }\n", ""))
    # As in a process of its own: without the module or the folder of another test.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return work / "mine.py"


def test_check_builds_a_model_of_the_user_s_own_but_cannot_tell_its_cost(klsearch: Klsearch, own_model: Path) -> None:
    own_model.write_text(MODEL)
    called = klsearch("check", "tiny.toml")
    assert "\nmodel: mine:build, 66 weights\n" in called.out
    assert "\ntime and memory: not known for a model of your own; " in called.out
    assert called.err == "built for 6\n", "what it prints is no result"
    assert klsearch("check", "tiny.toml", "--json").document["estimate"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({MODEL: ""}, "{0} has no 'build'"),
        ({"def build": "def built"}, "{0} has no 'build', did you mean 'built'?"),
        ({"import keras": "import none"}, "importing it failed: ModuleNotFoundError: No module named 'none' ({0}:1)"),
        ({"def build": "def"}, "importing it failed: SyntaxError"),
        ({"Dense(latent_dim)": "Dense(exit(0))"}, "SystemExit: 0"),
        ({"Dense(latent_dim)": "Dense(0)"}, "ValueError: Received an invalid value for `units`"),
        ({"Dense(latent_dim)": "Dense(7)"}, "ValueError: the encoder has 7 latents, but latent_dim is 3.\n"),
        ({"keras.Model(rows, heads), ": ""}, "ValueError: the model must be or give (encoder, decoder), two Keras"),
        ({"Dense(latent_dim)(rows)": "Rescaling(1)(rows[:, :3])"}, "ValueError: found no layer with a kernel to"),
        ({"(latent_dim)(rows)": "(latent_dim, kernel_initializer=keras.random.normal)(rows)"}, "ValueError: the "
         "initial values of 'dense"),
    ],
)  # fmt: skip
def test_check_says_in_one_line_what_is_wrong_with_a_model_of_the_user_s_own(
    klsearch: Klsearch, own_model: Path, changes: dict[str, str], words: str
) -> None:
    code = MODEL
    for old, new in changes.items():
        code = code.replace(old, new)
    own_model.write_text(code)
    called = klsearch("check", "tiny.toml")
    (line,) = (line for line in called.err.splitlines(keepends=True) if not line.startswith("built for"))
    assert called.code == 2
    place = re.match(r"klsearch: tiny\.toml:\d+: ", line)
    assert place is not None
    assert line[place.end() :].startswith(f"model.kind: mine:build: {words.format(own_model)}")


ENDING = """\
from pathlib import Path

import keras


class Rare(BaseException):
    pass


class Ending(keras.layers.Layer):
    def call(self, inputs):
        if Path("run").exists():
            raise {}
        return inputs


def build(input_shape, latent_dim):
    rows, z = keras.Input(input_shape), keras.Input((latent_dim,))
    heads = [keras.layers.Dense(latent_dim)(Ending()(rows)) for _ in range(2)]
    return keras.Model(rows, heads), keras.Model(z, keras.layers.Dense(*input_shape)(z))
"""


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        ("SystemExit(0)", 1, "SystemExit: 0 ({0}:13) ended the command"),
        ("Rare('why')", 1, "Rare: why ({0}:13) ended the command"),
        ("KeyboardInterrupt", 130, "interrupted."),
    ],
)
def test_a_layer_that_ends_the_process_after_the_model_is_built_is_an_error_of_the_command(
    klsearch: Klsearch, own_model: Path, raised: str, code: int, told: str
) -> None:
    own_model.write_text(ENDING.format(raised))
    called = klsearch("run", "tiny.toml", "--out", "run", "--slots", 2, "--no-confirm", "--json")
    assert (called.code, called.document["error"]["exit_code"]) == (code, code)
    assert called.document["error"]["message"].startswith(told.format(own_model))


def test_check_names_the_module_that_is_not_there(klsearch: Klsearch, own_model: Path) -> None:
    called = klsearch("check", "tiny.toml")
    folder = own_model.parent
    assert called.code == 2
    assert re.fullmatch(
        r"klsearch: tiny\.toml:\d+: model\.kind: mine:build: "
        rf"no module 'mine' in {folder} or among what is installed\n",
        called.err,
    )


def test_check_says_that_a_searched_dropout_acts_on_nothing(klsearch: Klsearch, own_model: Path) -> None:
    own_model.write_text(MODEL)
    definition = own_model.with_name("tiny.toml")
    definition.write_text(
        definition.read_text().replace("[space]", "[space]\nencoder_dropout = { low = 0.0, high = 0.4 }")
    )
    called = klsearch("check", "tiny.toml")
    assert called.code == 2
    assert "space.encoder_dropout: is searched or set, but the encoder holds no layer that it acts on" in called.err


def test_what_has_no_effect_on_a_model_of_one_s_own_is_told_in_one_message_with_its_lines(
    klsearch: Klsearch, own_model: Path
) -> None:
    """As from the template with only `kind` changed."""
    own_model.write_text(MODEL)
    definition = own_model.with_name("tiny.toml")
    text = definition.read_text().replace('kind = "mine:build"', 'kind = "mine:build"\nhidden = [16]')
    definition.write_text(text.replace("[space]", "[space]\nencoder_dropout = { low = 0.0, high = 0.4 }"))
    called = klsearch("check", "tiny.toml")
    told = [line.partition("tiny.toml:")[2] for line in called.err.splitlines() if "tiny.toml:" in line]
    assert called.code == 2
    assert [line.split(": ")[1] for line in told] == ["model.hidden", "space.encoder_dropout"]


CONDITIONAL = """\
import keras


def build(input_shape, latent_dim, condition_shape):
    rows, z = keras.Input(input_shape), keras.Input((latent_dim,))
    told = [keras.Input(condition_shape) for _ in range(2)]
    h = keras.layers.Concatenate()([rows, told[0]])
    heads = [keras.layers.Dense(latent_dim)(h) for _ in range(2)]
    output = keras.layers.Dense(*input_shape)(keras.layers.Concatenate()([z, told[1]]))
    return keras.Model([rows, told[0]], heads), keras.Model([z, told[1]], output)
"""


def test_check_takes_a_conditional_model_of_one_s_own(
    klsearch: Klsearch, own_model: Path, edit: Callable[[Path, str, str], None]
) -> None:
    """Of 5 columns, told the sixth: 2 heads of 6 · 3 + 3 weights, and an output of 4 · 5 + 5."""
    own_model.write_text(CONDITIONAL)
    edit(own_model.with_name("tiny.toml"), 'source = "rows.csv"', 'source = "rows.csv"\ncondition = ["f"]')
    called = klsearch("check", "tiny.toml")
    assert called.code == 0, called.err
    assert "\nmodel: mine:build, 67 weights\n" in called.out


TELLING = """\
import keras


class VAE:
    def __init__(self, latent_dim=3):
        rows, z = keras.Input((6,)), keras.Input((latent_dim,))
        h = keras.layers.Dropout(0.5, name="drop")(keras.layers.Dense(8, "relu")(rows))
        self.encoder = keras.Model(rows, {name: keras.layers.Dense(latent_dim)(h) for name in ("mu", "log_var")})
        self.decoder = keras.Model(z, keras.layers.Dense(6)(z))
"""


@pytest.mark.parametrize("kind", ["mine:VAE", "mine.py:VAE", "mine:vae", "vae.keras"])
def test_check_says_what_was_taken_for_what(
    klsearch: Klsearch, own_model: Path, edit: Callable[[Path, str, str], None], kind: str
) -> None:
    own_model.write_text(f"{TELLING}\n\nvae = VAE()\n")
    vae: dict[str, Any] = {}
    exec(TELLING, vae)
    parts = vae["VAE"]()
    rows = keras.Input((6,))
    parts.encoder.name, parts.decoder.name = "encoder", "decoder"
    keras.Model(rows, parts.decoder(parts.encoder(rows)["mu"])).save(own_model.with_name("vae.keras"))
    edit(own_model.with_name("tiny.toml"), 'kind = "mine:build"', f'kind = "{kind}"\nsearched_dropout = "all"')
    edit(own_model.with_name("tiny.toml"), "[space]", "[space]\nencoder_dropout = { low = 0.0, high = 0.4 }")
    called = klsearch("check", "tiny.toml", "--json")
    assert called.code == 0, called.err
    assert called.document["model_notes"] == [
        "of the encoder's outputs 'mu' is taken for z_mean and 'log_var' for z_log_var",
        "encoder_dropout is the rate of drop",
    ]


def test_faults_that_would_train_without_a_word_are_refused_or_warned_of_by_check(
    klsearch: Klsearch, own_model: Path
) -> None:
    own_model.write_text(MODEL.replace("Dense(latent_dim)(rows)", 'Dense(latent_dim, "tanh")(rows)'))
    called = klsearch("check", "tiny.toml", "--json")
    assert called.code == 0
    assert called.document["warning_codes"][-2:] == ["bounded-mean", "own-clip"]
    code = MODEL.replace("Dense(latent_dim)(rows)", 'Dense(latent_dim, "relu")(rows)')
    own_model.write_text(code.replace("Dense(*input_shape)", 'Dense(*input_shape, activation="softmax")'))
    sys.modules.pop("mine")
    called = klsearch("check", "tiny.toml")
    assert called.code == 2
    assert [words in called.err for words in ("z_mean stays at or above 0", "its logarithm", "a softmax")] == [True] * 3


def test_a_controller_aims_at_the_middle_of_the_band_in_nats_over_all_latents(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    assert weighting_of(workshop.definition, "control") == ControlledWeight(target=3 * 2.5)
    toml = write(tmp_path, ("trials = 24", 'trials = 24\nkl_reduction = "sum"\nkl_band = [2, 8]')).read_text()
    summed = parse_definition(toml, "tiny.toml")
    assert weighting_of(summed, "control") == ControlledWeight(target=5.0)
    assert weighting_of(summed, "sigma") == OptimalVariance()
    assert weighting_of(summed, "beta1") is weighting_of(summed, None) is None


def weights_of(model: keras.Model) -> int:
    """The number of trained numbers, without the rates of searched dropouts."""
    return sum(math.prod(weights.shape) for weights in model.trainable_weights)


def test_a_dense_network_is_that_of_the_definition(workshop: "Workshop") -> None:
    """6 columns, 16 hidden units, 3 latents with two heads; as many biases as outputs."""
    network = build_network(workshop.definition, workshop.dataset, Path())
    assert (network.input_shape, network.latent_dim) == ((6,), 3)
    assert weights_of(network.encoder) == 6 * 16 + 16 + 2 * (16 * 3 + 3)
    assert weights_of(network.decoder) == 3 * 16 + 16 + 16 * 6 + 6


def images(dataset: Dataset) -> Dataset:
    """Images of 4×4 in place of the rows."""
    train, validation, test = (np.zeros((len(rows), 4, 4), np.float32) for rows in dataset.splits.values())
    return replace(dataset, train=train, validation=validation, test=test)


def test_a_convolutional_network_is_that_of_the_definition(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    """4 filters of 3×3 leave 2×2 places, and a last one makes an image of the 4."""
    conv = ('kind = "dense"\nhidden = [16]', 'kind = "conv"\nfilters = [4]\nhidden = [5]')
    definition = parse_definition(write(tmp_path, conv).read_text(), "tiny.toml")
    network = build_network(definition, images(workshop.dataset), tmp_path)
    assert (network.input_shape, network.latent_dim) == ((4, 4), 3)
    assert weights_of(network.encoder) == (9 * 4 + 4) + (16 * 5 + 5) + 2 * (5 * 3 + 3)
    assert weights_of(network.decoder) == (3 * 5 + 5) + (5 * 16 + 16) + (9 * 4 * 4 + 4) + (9 * 4 + 1)


@pytest.mark.parametrize(("written", "gates", "biases"), [("", 3, 2), ('cell = "lstm"\n', 4, 1)])
def test_a_recurrent_network_has_the_cells_of_the_definition(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path], written: str, gates: int, biases: int
) -> None:
    """The 6 columns are a series of one channel; one layer of 5 states reads it and one writes it."""
    recurrent = ('kind = "dense"\nhidden = [16]', f'kind = "recurrent"\n{written}hidden = [5]')
    definition = parse_definition(write(tmp_path, recurrent).read_text(), "tiny.toml")
    network = build_network(definition, workshop.dataset, tmp_path)
    assert weights_of(network.encoder) == gates * 5 * (1 + 5 + biases) + 2 * (5 * 3 + 3)
    assert weights_of(network.decoder) == gates * 5 * (3 + 5 + biases) + (5 + 1)


@pytest.mark.parametrize(
    ("likelihood", "unit_interval", "bounded"),
    [("gaussian", True, True), ("gaussian", False, False), ("bernoulli", True, False)],
)
def test_a_reconstruction_is_bounded_where_the_data_are_and_it_is_no_logit(
    workshop: "Workshop",
    tmp_path: Path,
    write: Callable[..., Path],
    likelihood: str,
    unit_interval: bool,
    bounded: bool,
) -> None:
    changed = write(tmp_path, ("latent_dim = 3", f'latent_dim = 3\nlikelihood = "{likelihood}"'))
    definition = parse_definition(changed.read_text(), "tiny.toml")
    keras.utils.set_random_seed(0)
    network = build_network(definition, replace(workshop.dataset, unit_interval=unit_interval), tmp_path)
    given = network.decoder(np.array([[1e3, 1e3, 1e3], [-1e3, -1e3, -1e3]], np.float32)).numpy()
    assert bool(0 <= given.min() and given.max() <= 1) is bounded


def test_the_precision_of_the_definition_is_that_of_its_layers_and_of_no_others(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    mixed = write(tmp_path, ("epochs = 12", 'epochs = 12\nprecision = "mixed_bfloat16"')).read_text()
    network = build_network(parse_definition(mixed, "tiny.toml"), workshop.dataset, tmp_path)
    assert "bfloat16" in {layer.compute_dtype for layer in network.encoder.layers}
    plain = build_network(workshop.definition, workshop.dataset, tmp_path)
    assert {layer.compute_dtype for layer in plain.encoder.layers} == {"float32"}


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("[space]", "[space]\nencoder_dropout = 0.2", True),
        ("[space]", "[space]\nencoder_dropout = 0.0", False),
        ("[baselines.mine]", "[baselines.mine]\nencoder_dropout = 0.2", True),
        ("[baselines.mine]", "[baselines.mine]\nencoder_dropout = 0.0", False),
    ],
)
def test_a_dropout_that_any_trial_or_baseline_has_needs_a_layer_to_act_on(
    klsearch: Klsearch, own_model: Path, edit: Callable[[Path, str, str], None], old: str, new: str, refused: bool
) -> None:
    own_model.write_text(MODEL)
    edit(own_model.with_name("tiny.toml"), old, new)
    called = klsearch("check", "tiny.toml")
    assert ("the encoder holds no layer that it acts on" in called.err, called.code) == (refused, 2 * refused)


@pytest.mark.parametrize(
    ("old", "new", "clips"),
    [
        ("epochs = 12", "epochs = 12", False),
        ("epochs = 12", "epochs = 12\nclipnorm = 1.0", True),
        ("epochs = 12", "epochs = 12\nclipnorm = inf", False),
        ("[baselines.mine]", "[baselines.mine]\nclipnorm = 1.0", True),
        ("[space]", "[space]\nclipnorm = { low = 0.1, high = 10.0, log = true }", True),
    ],
)
def test_gradients_can_be_clipped_where_any_trial_or_baseline_asks_for_it(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path], old: str, new: str, clips: bool
) -> None:
    definition = parse_definition(write(tmp_path, (old, new)).read_text(), "tiny.toml")
    network = build_network(definition, workshop.dataset, tmp_path)
    population = build_population(definition, network, workshop.dataset, Layout(2, 1))
    clipped = replace(BEFORE, clipnorm=1.0)
    with nullcontext() if clips else pytest.raises(ValueError, match="the population was made without clipping"):
        population.start(0, clipped, 1)


def test_a_population_has_the_layout_and_the_steps_of_the_study_and_needs_no_test_split(workshop: "Workshop") -> None:
    """128 training rows in batches of 32."""
    network = build_network(workshop.definition, workshop.dataset, Path())
    untested = replace(workshop.dataset, test=workshop.dataset.test[:0])
    population = build_population(workshop.definition, network, untested, Layout(6, 2))
    assert (population.slots, population.together, population.steps_per_epoch) == (6, 2, 4)
