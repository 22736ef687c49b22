"""The report's terms, in plain words, with the study's own numbers in them."""

from collections.abc import Callable

import pytest

from klsearch.reports.page import Facts
from klsearch.reports.sections.glossary import glossary_section
from klsearch.studies.record import StudyRecord
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, GATE_NAMES

Make = Callable[..., StudyRecord]


def glossary(study: StudyRecord) -> dict[str, str]:
    (facts,) = glossary_section(study).blocks
    assert isinstance(facts, Facts)
    words = dict(facts.pairs)
    assert len(words) == len(facts.pairs), "a word is explained once"
    return words


def test_what_is_searched_is_explained_and_what_is_fixed_is_not(make: Make) -> None:
    words = glossary(make(0, space={"kl_weight": {"low": 0.1, "high": 1.0}, "l2": {"low": 0.0, "high": 0.1}}))
    assert list(words)[-2:] == ["kl_weight", "l2"]
    assert "encoder_dropout" not in words


def test_every_meaning_is_a_sentence_without_a_place_left_open(study: StudyRecord) -> None:
    for word, meaning in glossary(study).items():
        assert meaning[0].isupper() or not meaning[0].isalpha(), word
        assert meaning.endswith("."), word
        assert not set("{}") & set(meaning), word


def test_the_window_is_the_study_s_own(make: Make) -> None:
    words = glossary(make(0, gates={"window": 7}))
    assert words["final KL"] == "Mean of the validation KL over the last 7 epochs, at the full KL weight."
    assert "over the last 7 epochs" in words["KL slope"]


@pytest.mark.parametrize(
    ("likelihood", "error", "deviance"),
    [
        ("gaussian", "squared error", "Squared error"),
        ("bernoulli", "cross-entropy in nats", "Squared error"),
        ("poisson", "negative log-likelihood of the counts in nats", "Poisson deviance"),
        ("student_t", "negative log-likelihood in nats", "Student's t deviance"),
    ],
)
def test_errors_are_named_as_the_likelihood_has_them(make: Make, likelihood: str, error: str, deviance: str) -> None:
    words = glossary(make(0, model={"likelihood": likelihood}))
    assert error in words["reconstruction"]
    assert words["unexplained"].startswith(f"{deviance} divided by that of predicting the training mean")


def test_every_gate_is_named_in_the_order_of_judging_and_the_constraints_once_more(study: StudyRecord) -> None:
    told, constraints = glossary(study)["gates"].split(". Of these, ")
    assert told.endswith(": " + ", ".join(GATE_NAMES))
    assert constraints.startswith(", ".join(CONSTRAINT_GATES) + " are also constraints of the search")
