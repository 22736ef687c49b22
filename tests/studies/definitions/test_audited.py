"""Definitions of models that were audited."""

from pathlib import Path
from typing import Any

import pytest

from klsearch.studies.definitions.audited import define_audited
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.vae.data.datasets import Request, load_dataset

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


@pytest.mark.parametrize("unknown", ["reconstruction_weight", "kl_pull"])
def test_without_a_known_weight_no_baseline_is_made_up(unknown: str) -> None:
    assert not defined(**{unknown: None}).baselines


def test_without_a_known_error_the_data_choose_the_likelihood() -> None:
    assert defined(reconstruction=None).model.likelihood == "gaussian"


@pytest.mark.parametrize(("kind", "name"), [("./models/my vae.py:make", "my-vae"), ("models.vae:make", "models.vae")])
def test_a_study_is_named_after_what_makes_its_model(kind: str, name: str) -> None:
    dataset = load_dataset(Request(source="digits", folder=HERE))
    assert parse_definition(define_audited(kind, "digits", dataset, FACTS), "mine.toml").study.name == name
