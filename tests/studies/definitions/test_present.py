"""Definitions of models and trainings of one's own, with their present settings."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.definitions.present import define_audited, define_diagnosed, define_watched
from klsearch.vae.data.datasets import Request, load_dataset
from klsearch.vae.diagnostics.diagnosis import diagnose
from klsearch.vae.diagnostics.histories import read_history
from klsearch.vae.objective import OwnLoss
from tests.vae.diagnostics.test_watched import watched

HERE = Path()
FACTS: dict[str, Any] = {
    "latent_dim": 4,
    "reconstruction": "squared error",
    "reconstruction_weight": 3.0,
    "kl_pull": 0.6,
}


def defined(**facts: Any) -> StudyDefinition:
    dataset = load_dataset(Request(source="digits", folder=HERE))
    return parse_definition(define_audited("my_vae:make", "digits", dataset, {**FACTS, **facts}), "mine.toml")


def test_present_settings_are_the_baseline_in_the_terms_of_the_users_own_loss() -> None:
    definition = defined()
    assert (definition.study.name, definition.model.kind, definition.model.latent_dim) == ("my_vae", "my_vae:make", 4)
    assert definition.model.likelihood == "gaussian"
    loss = definition.baselines["mine"].own_loss()
    assert loss is not None
    beta = loss.beta(0.6, terms=64, latent_dim=4, batch_size=128)
    assert beta == pytest.approx(0.6 / 3.0), "nats of KL per nat of error, of which it weighs three"
    assert definition.space.searched()["kl_weight"].low < definition.space.searched()["kl_weight"].high


def test_a_cross_entropy_is_searched_as_bernoulli() -> None:
    assert defined(reconstruction="cross-entropy of logits").model.likelihood == "bernoulli"


@pytest.mark.parametrize(
    ("reductions", "pull", "error"),
    [
        # As sums over 256 rows; at 128 a KL summed over the batch weighs half of it.
        (("batch sum", "sum"), 256 * 0.5, 1.0),
        (("batch sum", "batch sum"), 256 * 64.0, 256.0),
        (("sum", "batch sum"), 64.0, 256.0),
    ],
)
def test_what_is_summed_over_the_batch_gives_the_same_beta_at_another_batch_size(
    reductions: tuple[str, str], pull: float, error: float
) -> None:
    kl, reconstruction = reductions
    told = {"kl_reduction": kl, "reconstruction_reduction": reconstruction, "rows": 256}
    definition = defined(**told, kl_pull=pull, reconstruction_weight=error)
    mine = definition.baselines["mine"]
    loss = mine.own_loss()
    assert loss is not None
    assert mine.kl_weight is not None
    beta = loss.beta(mine.kl_weight, terms=64, latent_dim=4, batch_size=definition.training.batch_size)
    at_128 = {("batch sum", "sum"): 128 * 0.5, ("batch sum", "batch sum"): 64.0, ("sum", "batch sum"): 64.0 / 128}
    assert beta == pytest.approx(at_128[reductions])


def test_a_kl_that_is_maximised_is_no_baseline_and_free_bits_are_said_to_be_left_out() -> None:
    assert not defined(kl_pull=-0.5).baselines
    dataset = load_dataset(Request(source="digits", folder=HERE))
    text = define_audited("my_vae:make", "digits", dataset, {**FACTS, "kl_form": "free bits"})
    assert "kl_weight = 0.6   # without its free bits, which a study does not have\n" in text


@pytest.mark.parametrize("unknown", ["reconstruction_weight", "kl_pull"])
def test_without_a_known_weight_no_baseline_is_made_up(unknown: str) -> None:
    assert not defined(**{unknown: None}).baselines


def test_without_a_known_error_the_data_choose_the_likelihood() -> None:
    assert defined(reconstruction=None).model.likelihood == "gaussian"


@pytest.mark.parametrize(("kind", "name"), [("./models/my vae.py:make", "my-vae"), ("models.vae:make", "models.vae")])
def test_a_study_is_named_after_what_makes_its_model(kind: str, name: str) -> None:
    dataset = load_dataset(Request(source="digits", folder=HERE))
    assert parse_definition(define_audited(kind, "digits", dataset, FACTS), "mine.toml").study.name == name


RECORDED = Path(__file__).parents[2] / "vae" / "diagnostics" / "histories"


def diagnosed(name: str, **given: Any) -> str:
    found = diagnose(read_history(RECORDED / f"{name}.csv"), **given)
    return define_diagnosed(found, name=name, **given)


def test_a_history_s_settings_are_the_baseline_as_far_as_it_has_them() -> None:
    text = diagnosed("annealed_healthy_mean_4", kl_reduction="mean")
    definition, history = parse_definition(text, "mine.toml"), read_history(RECORDED / "annealed_healthy_mean_4.csv")
    mine = definition.baselines["mine"]
    assert history.kl_weight is not None
    assert mine.kl_weight == pytest.approx(history.kl_weight[-1])
    risen = int(np.argmax(history.kl_weight >= history.kl_weight[-1] * 0.999))
    assert mine.annealing_epochs == risen > 0
    assert mine.own_loss() == OwnLoss(kl="mean")
    assert definition.training.epochs == history.kl.size
    assert definition.study.name == "annealed_healthy_mean_4"


@pytest.mark.parametrize("name", [path.stem for path in sorted(RECORDED.glob("*.csv"))])
def test_every_history_ends_in_a_definition_that_is_accepted_and_says_what_it_cannot_tell(name: str) -> None:
    text = diagnosed(name, latent_dim=8)
    definition = parse_definition(text, "mine.toml")
    assert definition.model.latent_dim == 8
    unknown = [line.partition("   #")[0] for line in text.splitlines() if "it cannot be told from here" in line]
    assert {'source = "my_data.npy"', 'kind = "my_vae.py:VAE"', "batch_size = 128"} <= set(unknown)
    assert not any(line.startswith(("latent_dim", "epochs")) for line in unknown)


def test_a_watched_training_tells_of_its_model_and_optimizer_too() -> None:
    seen = replace(
        watched(),
        known={"kind": "my_vae:VAE", "optimizer": "rmsprop", "learning_rate": 0.01},
        clip={"clip_low": -20.0, "clip_high": math.inf},
    )
    text = define_watched(seen, seen.diagnose(), "vae")
    definition = parse_definition(text, "mine.toml")
    assert (definition.model.kind, definition.model.latent_dim) == ("my_vae:VAE", 4)
    assert (definition.training.optimizer, definition.training.learning_rate) == ("rmsprop", 0.01)
    mine = definition.baselines["mine"]
    assert (mine.kl_weight, mine.clip_low, mine.clip_high) == (pytest.approx(0.1), -20.0, None)
