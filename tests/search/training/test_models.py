"""The network and the population that a definition asks for."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.training.models import weighting_of
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.training.weighting import ControlledWeight, OptimalVariance

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop

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
        ({MODEL: ""}, "{0} has no function 'build'"),
        ({"import keras": "import none"}, "importing it failed: ModuleNotFoundError: No module named 'none' ({0}:1)"),
        ({"def build": "def"}, "importing it failed: SyntaxError"),
        ({"Dense(latent_dim)": "Dense(0)"}, "ValueError: Received an invalid value for `units`"),
        ({"Dense(latent_dim)": "Dense(7)"}, "ValueError: the decoder must take [n, 7], but takes [None, 3].\n"),
        ({"keras.Model(rows, heads), ": ""}, "ValueError: the model factory must give (encoder, decoder), two Keras"),
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
    assert line.startswith(f"klsearch: model.kind: mine:build: {words.format(own_model)}")


def test_check_names_the_module_that_is_not_there(klsearch: Klsearch, own_model: Path) -> None:
    called = klsearch("check", "tiny.toml")
    folder = own_model.parent
    assert (called.code, called.err) == (
        2,
        f"klsearch: model.kind: mine:build: no module 'mine' in {folder} or among what is installed\n",
    )


def test_check_says_that_a_searched_dropout_acts_on_nothing(klsearch: Klsearch, own_model: Path) -> None:
    own_model.write_text(MODEL)
    definition = own_model.with_name("tiny.toml")
    definition.write_text(
        definition.read_text().replace("[space]", "[space]\nencoder_dropout = { low = 0.0, high = 0.4 }")
    )
    called = klsearch("check", "tiny.toml")
    assert called.code == 2
    assert "encoder_dropout is searched or set, but the encoder holds no klsearch.SearchedDropout layer" in called.err


def test_a_controller_aims_at_the_middle_of_the_band_in_nats_over_all_latents(
    workshop: "Workshop", tmp_path: Path, write: Callable[..., Path]
) -> None:
    assert weighting_of(workshop.definition, "control") == ControlledWeight(target=3 * 2.5)
    toml = write(tmp_path, ("trials = 24", 'trials = 24\nkl_reduction = "sum"\nkl_band = [2, 8]')).read_text()
    summed = parse_definition(toml, "tiny.toml")
    assert weighting_of(summed, "control") == ControlledWeight(target=5.0)
    assert weighting_of(summed, "sigma") == OptimalVariance()
    assert weighting_of(summed, "beta1") is weighting_of(summed, None) is None
