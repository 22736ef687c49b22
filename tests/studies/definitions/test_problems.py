"""What is wrong with a definition, in words, by the path of the key."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from klsearch.studies.definitions.problems import mend
from klsearch.studies.definitions.toml_source import KeyPath

OnlyProblem = Callable[[str, str], str]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("hidden", "hiden", "my.toml:8: model.hiden: unknown key, did you mean 'hidden'?"),
        ("high = 1.0", "hihg = 1.0", "my.toml:13: space.kl_weight.hihg: unknown key, did you mean 'high'?"),
        ("[16]", '[16, "x"]', "my.toml:8: model.hidden[1]: must be a whole number, but is 'x'"),
        ("[16]", "[]", "my.toml:8: model.hidden: must have 1 or more entries, but is []"),
        ("[16]", "[0]", "my.toml:8: model.hidden[0]: must be at least 1, but is 0"),
        ("trials = 20", "trials = 0", "my.toml:3: study.trials: must be at least 1, but is 0"),
        ("trials = 20", "trials = 2.5", "my.toml:3: study.trials: must be a whole number, but is 2.5"),
        ("trials = 20", "trials = true", "my.toml:3: study.trials: must be a whole number, but is true"),
        ("trials = 20", "trials = 20\npenalty = -1", "my.toml:4: study.penalty: must be at least 0, but is -1"),
        ("trials = 20", "trials = 20\npenalty = inf", "my.toml:4: study.penalty: must be finite, but is inf"),
        ("epochs = 40", "epochs = 40\nbatch_size = 0", "my.toml:12: training.batch_size: must be at least 1, but is 0"),
        ("latent_dim = 4", "latent_dim = -2", "my.toml:9: model.latent_dim: must be at least 1, but is -2"),
        ("latent_dim = 4", "", "my.toml:6: model.latent_dim: missing"),
        ("hidden = [16]", "", "my.toml:6: model.hidden: missing; a dense model needs it, such as hidden = [128, 64]"),
        ("clip_high = 2", "clip_high = nan", "my.toml:15: space.clip_high: must be a number, but is nan"),
        ("clip_high = 2", "l2 = -1", "my.toml:15: space.l2: must be at least 0, but is -1.0"),
        ("low = 1e-4", "low = 0", "my.toml:13: space.kl_weight: a log range must start above 0, but low is 0.0"),
        ("low = 1e-4", "low = 3", "my.toml:13: space.kl_weight: low must lie below high, but 3.0 >= 1.0"),
        ("low = 1e-4", "low = nan", "my.toml:13: space.kl_weight.low: must be finite, but is nan"),
        ("{ low = -20, high = -4 }", "{ low = -1e308, high = 1e308 }", "my.toml:14: space.clip_low: low and high lie "
         "too far apart for floating-point numbers; give a narrower range"),
        ("high = 20", "high = 9.5", "my.toml:16: space.annealing_epochs.high: must be a whole number, but is 9.5"),
        ('"dense"', '"dens"', "my.toml:7: model.kind: must be 'dense', 'conv', 'conv1d', 'recurrent', or "
         "your own: 'my_vae:name', 'my_vae.py:name' or 'file.keras', "
         "but is 'dens', did you mean 'dense'?"),
        ("epochs = 40", "epochs = 40\nprecision = 3", "my.toml:12: training.precision: must be 'float32' or "
         "'mixed_bfloat16', but is 3"),
        ('"digits"', '""', "my.toml:5: data.source: must not be empty, but is ''"),
        ("[training]", "[training]\nhidden = [3]", "my.toml:11: training.hidden: unknown key here; it belongs to "
         "[model]"),
    ],
)  # fmt: skip
def test_a_problem_names_its_line_key_value_and_remedy(
    only_problem: OnlyProblem, old: str, new: str, problem: str
) -> None:
    assert only_problem(old, new) == problem


def document(**changes: Any) -> dict[str, Any]:
    """A sound definition; a change of None takes its table or key out."""
    tables: dict[str, Any] = {
        "study": {"name": "mine", "trials": 20},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [16], "latent_dim": 4},
        "training": {"epochs": 40},
        "space": {"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}, "clip_high": 2},
    }
    for table, entries in changes.items():
        merged = entries if not isinstance(entries, dict) else {**tables.get(table, {}), **entries}
        tables[table] = merged if not isinstance(merged, dict) else {k: v for k, v in merged.items() if v is not None}
    return {name: entries for name, entries in tables.items() if entries is not None}


def test_a_sound_definition_has_no_problems() -> None:
    assert mend(document()).problems == {}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        # The value of a misspelt key is judged as that of the key that was meant, in its written place.
        (
            {"study": {"trials": None, "trails": 0}},
            {
                ("study", "trails"): "must be at least 1, but is 0",
            },
        ),
        (
            {"study": {"trails": 9}},
            {("study", "trails"): "unknown key, did you mean 'trials'?"},
        ),
        (
            {"study": {"colour": 9}},
            {
                ("study", "colour"): (
                    "unknown key; known here: name, seed, trials, kl_band, kl_reduction, penalty, sampler, stop, pruner"
                )
            },
        ),
        (
            {"space": {"epochs": 9}},
            {("space", "epochs"): "unknown key here; it belongs to [training]"},
        ),
        (
            {"stduy": {"name": "a"}},
            {("stduy",): "unknown key, did you mean 'study'?"},
        ),
        (
            {"baselines": {"my own": {"kl_wieght": 1}}},
            {("baselines", "my own", "kl_wieght"): "unknown key, did you mean 'kl_weight'?"},
        ),
        (
            {"study": None, "training": None},
            {("study",): "missing table", ("training",): "missing table"},
        ),
        (
            {"study": 3, "space": {"kl_weight": [1, 2]}},
            {
                ("study",): "must be a table, such as { name = …, seed = … }, but is 3",
                ("space", "kl_weight"): (
                    "must be a number or a range { low = …, high = … }, but is [1, 2], "
                    "did you mean { low = 1, high = 2 }?"
                ),
            },
        ),
        (
            {"study": {"name": "x" * 90, "seed": "y" * 90}},
            {("study", "seed"): f"must be a whole number, but is '{'y' * 56}..."},
        ),
        (
            {"study": {"sampler": "tpee", "kl_reduction": "total"}},
            {
                ("study", "sampler"): "must be 'tpe', 'random' or 'qmc', but is 'tpee', did you mean 'tpe'?",
                ("study", "kl_reduction"): "must be 'mean' or 'sum', but is 'total'",
            },
        ),
        (
            {"confirmation": {"seeds": True, "top": 1.0}},
            {
                ("confirmation", "seeds"): "must be a whole number, but is true",
                ("confirmation", "top"): "must be a whole number, but is 1.0, did you mean 1?",
            },
        ),
        (
            {"gates": {"window": 1, "max_clip_share": 1.5, "min_active_share": -1}},
            {
                ("gates", "window"): "must be at least 2, but is 1",
                ("gates", "max_clip_share"): "must be at most 1, but is 1.5",
                ("gates", "min_active_share"): "must be at least 0, but is -1",
            },
        ),
        (
            {"data": {"source": 3, "split": {"validation": 1}}},
            {
                ("data", "source"): "must be text in quotes, but is 3",
                ("data", "split", "validation"): "must be below 1, but is 1",
            },
        ),
    ],
)  # fmt: skip
def test_every_problem_stands_at_the_path_of_its_key(changes: dict[str, Any], problems: dict[KeyPath, str]) -> None:
    assert mend(document(**changes)).problems == problems


@pytest.mark.parametrize(
    ("space", "found"),
    [
        ({"annealing_epochs": 39}, ("space", "annealing_epochs")),  # too long for the epochs
        ({"clip_low": 3}, ("space", "clip_low")),  # above the other bound
        ({"kl_weight": 0.1}, ("space",)),  # so that nothing is searched
    ],
)
def test_what_sound_keys_do_to_each_other_is_found_beside_what_is_wrong_elsewhere(
    space: dict[str, Any], found: KeyPath
) -> None:
    wrong = {"study": {"trials": "many", "kl_band": [5, 1]}, "model": {"kind": "dens"}}
    problems = mend(document(space=space, **wrong)).problems
    assert set(problems) == {("study", "trials"), ("study", "kl_band"), ("model", "kind"), found}


def test_what_would_follow_from_the_mending_alone_is_no_problem() -> None:
    """Without a number of epochs nobody knows whether the annealing is too long."""
    found = mend(document(training={"epochs": 0}, space={"annealing_epochs": {"low": 0, "high": 500}})).problems
    assert found == {("training", "epochs"): "must be at least 1, but is 0"}


def test_the_document_is_left_as_it_is() -> None:
    given = document(study={"trails": 0, "trials": None}, space={"clip_high": "x"})
    before = deepcopy(given)
    mend(given)
    assert given == before
