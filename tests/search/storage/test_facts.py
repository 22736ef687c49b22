"""The facts of a study as a whole."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from klsearch.search.layout import Layout
from klsearch.search.storage.facts import StudyFacts, confirmation_digest
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.record import DataFacts, Reference
from klsearch.vae.data.cautions import Caution

DATA = DataFacts(
    rows={"train": 8, "validation": 2, "test": 2},
    shape=(2, 3),
    scaling="none",
    fingerprint="abc",
    warnings=(Caution("few", "few-rows"),),
    notes=("separated by tabs",),
)
REFERENCE = Reference(method="sigma", seeds=2, kl=1.5, kl_band=(0.75, 2.25))
FACTS = StudyFacts(
    layout=Layout(4, 2), comparable={"model": {"latent_dim": 3}}, folder="/here", data=DATA, provenance={"keras": "3"}
)
FULL = replace(
    FACTS,
    winner=3,
    confirmed_among=40,
    test_looks=("2026-03-01T00:00:00+00:00",),
    reference=REFERENCE,
    warm_start="3 trials of digits",
    scoring={"measures": 1, "score": 2},
)


@pytest.mark.parametrize("facts", [FACTS, FULL])
def test_facts_come_back_from_json(facts: StudyFacts) -> None:
    back = StudyFacts.from_json(json.loads(json.dumps(facts.as_json(), allow_nan=False)))
    assert back == facts
    assert [warning.code for warning in back.data.warnings] == ["few-rows"]


def test_warnings_of_an_earlier_release_come_back_without_a_code() -> None:
    values = FACTS.as_json()
    del values["data"]["codes"]
    (warning,) = StudyFacts.from_json(values).data.warnings
    assert (warning, warning.code) == ("few", "")


def test_facts_that_the_first_release_did_not_write_are_those_that_it_had() -> None:
    values = FULL.as_json()
    for name in ("reference", "scoring", "warm_start", "confirmed_among", "recipe_fills"):
        del values[name]
    del values["layout"]["within"]
    del values["data"]["notes"]
    known = replace(
        FULL,
        data=replace(DATA, notes=()),
        recipe_fills=True,
        reference=None,
        warm_start="",
        confirmed_among=None,
        scoring={"measures": 1, "score": 1},
    )
    assert StudyFacts.from_json(values) == known


COMPARABLE: dict[str, dict[str, Any]] = {
    "more slots": {"layout": Layout(8, 2)},
    "other company": {"layout": Layout(4, 4)},
    "operations divided otherwise": {"layout": Layout(4, 2, 3)},
    "another model": {"comparable": {"model": {"latent_dim": 4}}},
    "other rows": {"data": replace(DATA, fingerprint="abd")},
    "a band that was found": {"reference": REFERENCE},
    "another score": {"scoring": {"measures": 1, "score": 2}},
    "other measures": {"scoring": {"measures": 2, "score": 1}},
}


def test_whatever_makes_trials_incomparable_changes_the_fingerprint() -> None:
    changed = [replace(FACTS, **changes).fingerprint for changes in COMPARABLE.values()]
    assert len({FACTS.fingerprint, *changed}) == 1 + len(COMPARABLE)
    wider = replace(REFERENCE, kl_band=(0.5, 2.25))
    assert replace(FACTS, reference=wider).fingerprint != replace(FACTS, reference=REFERENCE).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": "/there"},
        {"provenance": {"keras": "4"}},
        {"winner": 0, "confirmed_among": 20, "test_looks": ("2026-03-01",)},
        {"warm_start": "3 trials of digits"},
        {"data": replace(DATA, warnings=(), scaling="minmax")},
        {"scoring": {"score": 1, "measures": 1}},
    ],
)
def test_whatever_is_found_on_the_way_leaves_the_fingerprint_as_it_was(changes: dict[str, Any]) -> None:
    assert replace(FACTS, **changes).fingerprint == FACTS.fingerprint


def test_what_a_reference_was_measured_at_matters_only_by_its_band() -> None:
    first, second = (replace(FACTS, reference=replace(REFERENCE, kl=kl)).fingerprint for kl in (1.5, 1.5000001))
    assert first == second


def test_a_band_that_was_found_settles_the_definition(definition_file: Path) -> None:
    text = definition_file.read_text().replace("trials = 24", 'trials = 24\nkl_band = "auto"')
    definition = parse_definition(text, "tiny.toml")
    assert replace(FACTS, reference=REFERENCE).settle(definition).thresholds().kl_band == (0.75, 2.25)


def test_a_band_that_is_given_stays(definition_file: Path) -> None:
    definition = parse_definition(definition_file.read_text(), "tiny.toml")
    assert FACTS.settle(definition).thresholds().kl_band == (0.0, 5.0)


def test_whatever_changes_what_is_proven_changes_the_digest_and_nothing_else_does(definition_file: Path) -> None:
    text = definition_file.read_text()
    digest = confirmation_digest(parse_definition(text, "tiny.toml"), [0, 1, 2])
    for old, new in (("seeds = 8", "seeds = 9"), ("kl_weight = 0.1", "kl_weight = 0.2"), ("window = 2", "window = 3")):
        changed = parse_definition(text.replace(old, new), "tiny.toml")
        assert confirmation_digest(changed, [0, 1, 2]) != digest
    same = override(load_definition(definition_file), trials=99).definition
    assert confirmation_digest(same, [2, 1, 0]) == digest
    assert confirmation_digest(same, [0, 1, 2, 3]) != digest
