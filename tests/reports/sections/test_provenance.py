"""Where the numbers come from."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from klsearch.reports.page import Code, Facts, Fold, Prose
from klsearch.reports.sections.provenance import provenance_section
from klsearch.studies.record import DataFacts, Reference, StudyRecord
from klsearch.vae.data.cautions import Caution

Make = Callable[..., StudyRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def facts(study: StudyRecord) -> dict[str, str]:
    block = provenance_section(study).blocks[0]
    assert isinstance(block, Facts)
    return dict(block.pairs)


def test_a_study_is_told_with_its_model_training_band_data_and_machine(make: Make) -> None:
    study = replace(make(0, study={"penalty": 2}), trials=())
    assert facts(study) == {
        "study": "digits",
        "storage": "sqlite:///study.db",
        "definition fingerprint": "f" * 64,
        "first trial started": "not yet",
        "last training ended": "not yet",
        "model": "dense, 128-64, 8 latents, gaussian",
        "slots": "8; one process with --slots 8 repeats the course of the study",
        "training": "40 epochs, batches of 128",
        "KL band": "0 to 5 nats per latent",
        "penalty": "2",
        "data": "digits",
        "rows": "1,257 train, 270 validation, 270 test; each 8 × 8",
        "scaling": "minmax over the training split",
        "data fingerprint": "d" * 64,
        "klsearch": "0.1.0",
        "Python": "3.11.2",
        "TensorFlow": "2.21.0",
        "processor": "x86_64, 2 cores",
    }


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"hidden": [16]}, "dense, 16, 8 latents, gaussian"),
        (
            {"kind": "conv", "filters": [4, 8], "hidden": None, "latent_dim": 1, "likelihood": "bernoulli"},
            "conv, 4-8, 1 latent, bernoulli",
        ),
        ({"kind": "conv", "filters": [4, 8], "hidden": [32]}, "conv, 4-8-32, 8 latents, gaussian"),
        ({"kind": "mine:make", "hidden": None}, "mine:make, layers of its own, 8 latents, gaussian"),
    ],
)
def test_a_model_is_told_by_its_layers_convolutions_first(make: Make, model: dict[str, Any], words: str) -> None:
    assert facts(make(0, model=model))["model"] == words


def test_a_band_that_was_found_says_from_what(make: Make) -> None:
    found = Reference(method="sigma", seeds=3, kl=12.3456, kl_band=(6.17, 18.5))
    study = replace(make(0, study={"kl_reduction": "sum", "kl_band": [6.17, 18.5]}), reference=found)
    assert facts(study)["KL band"] == (
        "6.17 to 18.5 nats over all latents: half to one and a half times the KL at which a σ-VAE of this "
        "architecture ends, 12.3 nats per latent (mean of 3 seeds)"
    )


def test_the_times_are_those_of_the_study_s_own_first_trial_and_of_its_last_training(study: StudyRecord) -> None:
    earlier, first, later = (
        replace(trial, started=NOON + timedelta(hours=hour), ended=NOON + timedelta(hours=hour + 1))
        for trial, hour in zip(study.trials, (-5, 0, 1), strict=False)
    )
    earlier = replace(earlier, warm_start=True)
    run = replace(study.confirmation[0], started=NOON, ended=NOON + timedelta(hours=9))
    searched = replace(study, trials=(earlier, later, first), confirmation=(), warm_start="trial 0 of old")
    told = facts(searched)
    assert (told["first trial started"], told["last training ended"]) == (
        "2026-03-01 12:00:00 UTC",
        "2026-03-01 14:00:00 UTC",
    )
    assert told["warm start"] == "trial 0 of old"
    confirmed = replace(searched, confirmation=(run, replace(run, ended=None)))
    assert facts(confirmed)["last training ended"] == "2026-03-01 21:00:00 UTC"


def test_data_that_were_not_loaded_yet_are_known_by_their_source_alone(make: Make) -> None:
    section = provenance_section(replace(make(0), data=None))
    told = dict(section.blocks[0].pairs) if isinstance(section.blocks[0], Facts) else {}
    assert told["data"] == "digits, not loaded yet"
    assert not told.keys() & {"rows", "scaling", "data fingerprint"}
    assert not any(isinstance(block, Prose) for block in section.blocks)


def test_each_note_and_warning_of_the_data_stands_below_the_facts(make: Make) -> None:
    cautions = (Caution("one"), Caution("two"))
    data = DataFacts(rows={"train": 7}, shape=(3,), scaling="none", fingerprint="e", warnings=cautions, notes=("tabs",))
    first, note, *warnings, last = provenance_section(replace(make(0), data=data)).blocks
    assert isinstance(first, Facts) and dict(first.pairs)["rows"] == "7 train; each 3"
    assert note == Prose(text="Data: tabs")
    assert warnings == [Prose(text="Data: one", tone="caution"), Prose(text="Data: two", tone="caution")]
    assert isinstance(last, Fold)


def test_the_definition_stands_as_it_was_written(make: Make) -> None:
    toml = '[study]\nname = "é"  # <mine>\n'
    fold = provenance_section(replace(make(0), definition_toml=toml)).blocks[-1]
    assert isinstance(fold, Fold)
    assert fold.blocks == (Code(label="Definition", text=toml),)
