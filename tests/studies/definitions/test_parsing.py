"""Definitions from TOML: every problem at once, each in its place."""

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from klsearch.studies.definitions.catalog import template
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DefinitionError

GOOD = """\
[study]
name = "mine"
trials = 20
[data]
source = "digits"
[model]
kind = "dense"
hidden = [16]
latent_dim = 4
[training]
epochs = 40
[space]
kl_weight = { low = 1e-4, high = 1.0, log = true }
clip_low = { low = -20, high = -4 }
clip_high = 2
annealing_epochs = { low = 0, high = 20 }
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse_definition(text, "my.toml")
    return list(caught.value.problems)


def only_problem(old: str, new: str) -> str:
    """The one problem of the good text after a change."""
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert len(found) == 1, found
    return found[0]


def test_a_sound_definition_is_read_with_its_defaults() -> None:
    definition = parse_definition(GOOD, "my.toml")
    assert definition.study.kl_band == (0.0, 5.0)
    assert definition.confirmation.seeds == 8
    assert definition.training.batch_size == 128


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("hidden", "hiden", "my.toml:8: model.hiden: unknown key, did you mean 'hidden'?"),
        ("high = 1.0", "hihg = 1.0", "my.toml:13: space.kl_weight.hihg: unknown key, did you mean 'high'?"),
        ("[16]", '[16, "x"]', "my.toml:8: model.hidden[1]: must be a whole number, but is 'x'"),
        ("[16]", "[]", "my.toml:8: model.hidden: must have at least 1 entries, but is []"),
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
        ('"dense"', '"dens"', "my.toml:7: model.kind: must be 'dense', 'conv' or 'package.module:factory', "
         "but is 'dens', did you mean 'dense'?"),
        ("epochs = 40", "epochs = 40\nprecision = 3", "my.toml:12: training.precision: must be 'float32' or "
         "'mixed_bfloat16', but is 3"),
        ('"digits"', '""', "my.toml:5: data.source: must not be empty, but is ''"),
        ("[training]", "[training]\nhidden = [3]", "my.toml:11: training.hidden: unknown key here; it belongs to "
         "[model]"),
    ],
)  # fmt: skip
def test_a_problem_names_its_line_key_value_and_remedy(old: str, new: str, problem: str) -> None:
    assert only_problem(old, new) == problem


@pytest.mark.parametrize(
    "name", ["", " ", "..", "a/b", "a\\\\b", "-x", "tab\\tbed", "x" * 130, "c:d", "x (confirmation)", "x (turns)"]
)
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    assert "my.toml:2: study.name: a study's name" in only_problem('name = "mine"', f'name = "{name}"')


def test_clip_bounds_that_can_cross_anywhere_in_the_space_are_refused() -> None:
    problem = only_problem("clip_high = 2", "clip_high = { low = -5, high = 2 }")
    assert problem.startswith("my.toml:14: space.clip_low: must lie below clip_high everywhere")
    assert problem.endswith("but reaches -4 where clip_high can be -5")


def test_annealing_must_leave_a_window_of_full_weight() -> None:
    assert parse_definition(GOOD.replace("epochs = 40", "epochs = 25"), "my.toml").training.epochs == 25
    problem = only_problem("epochs = 40", "epochs = 24")
    assert problem.startswith("my.toml:16: space.annealing_epochs: reaches 20, but training lasts 24 epochs")
    assert "lower it to 19 or train at least 25 epochs" in problem


def test_without_annealing_even_two_epochs_are_accepted_with_a_warning() -> None:
    text = GOOD.replace("annealing_epochs = { low = 0, high = 20 }", "").replace("epochs = 40", "epochs = 2")
    assert "too short to judge *settled*" in parse_definition(text, "my.toml").warnings()[0]


@pytest.mark.parametrize(
    "values", ["{ validation = 0.5, test = 0.5 }", "{ validation = 0.9, test = 0.3 }", "{ validation = 0.86 }"]
)
def test_a_split_that_leaves_nothing_to_train_is_refused(values: str) -> None:
    assert "my.toml:6: data.split: validation and test must leave rows" in only_problem(
        '"digits"', f'"digits"\nsplit = {values}'
    )


def test_a_band_may_be_left_to_a_reference() -> None:
    asked = parse_definition(GOOD.replace("trials = 20", 'trials = 20\nkl_band = "auto"'), "my.toml")
    assert asked.study.kl_band == "auto"
    problem = only_problem("trials = 20", 'trials = 20\nkl_band = "atuo"')
    assert problem == "my.toml:4: study.kl_band: must be two numbers, such as [0.0, 5.0], or 'auto', but is 'atuo'"


@pytest.mark.parametrize(
    ("table", "place", "problem"),
    [
        ('[baselines.rival]\nmethod = "sigma"\nl2 = 0.1', "l2", "method = 'sigma' decides it; remove one of them"),
        ('[baselines.rival]\nmethod = "beta2"', "method", "must be 'beta1', 'sigma' or 'control', but is 'beta2'"),
        ('[baselines.after]\nmethod = "control"', "method", "the name stands for the recipe's settings"),
    ],
)
def test_a_method_stands_alone_under_a_name_of_its_own(table: str, place: str, problem: str) -> None:
    found = only_problem("[space]", f"{table}\n[space]")
    assert f": baselines.{table.split(']')[0].split('.')[1]}.{place}: " in found
    assert problem in found


def test_a_variance_is_only_fitted_to_a_gaussian_decoder() -> None:
    text = '[baselines.rival]\nmethod = "sigma"\n[space]'
    found = problems(GOOD.replace("latent_dim", 'likelihood = "bernoulli"\nlatent_dim').replace("[space]", text))
    assert len(found) == 1
    assert "baselines.rival.method: 'sigma' fits the variance of a Gaussian decoder" in found[0]


def test_no_test_split_is_accepted_only_where_nothing_is_confirmed() -> None:
    text = GOOD.replace('"digits"', '"digits"\nsplit = { test = 0.0 }')
    assert "my.toml:6: data.split.test: must be above 0" in problems(text)[0]
    parse_definition(text + "[confirmation]\nseeds = 0\n", "my.toml")


@pytest.mark.parametrize("rival", ['group = "g"', "split = { test = 0.2 }"])
def test_a_column_of_splits_excludes_other_ways_to_split(rival: str) -> None:
    assert "split_column already says" in only_problem('"digits"', f'"digits"\nsplit_column = "s"\n{rival}')


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("trials = 20", 'trials = 20\npruner = "hyperband"', "use 'none'"),
        ("epochs = 40", 'epochs = 40\nprecision = "mixed_float16"', "use 'float32'"),
    ],
)
def test_what_this_version_cannot_run_is_refused_with_what_to_use_instead(old: str, new: str, remedy: str) -> None:
    problem = only_problem(old, new)
    assert "is not available yet in this version" in problem
    assert remedy in problem


@pytest.mark.parametrize("band", ["[5, 1]", "[2, 2]", "[-1, 5]", "[1]", "[1, 2, 3]", "3", '["a", 1]'])
def test_a_band_is_two_rising_numbers_from_zero(band: str) -> None:
    assert only_problem("trials = 20", f"trials = 20\nkl_band = {band}").startswith("my.toml:4: study.kl_band")


def test_a_space_in_which_nothing_is_searched_is_refused() -> None:
    head, _ = GOOD.split("[space]")
    assert problems(f"{head}[space]\nkl_weight = 0.1\nl2 = 1e-4\n") == [
        "my.toml:12: space: nothing is searched; give at least one hyperparameter a range {low = …, high = …}"
    ]


@pytest.mark.parametrize("name", ["winner", "search", "trial 3"])
def test_baselines_do_not_take_names_with_a_meaning(name: str) -> None:
    assert "name with a meaning of its own" in problems(f'{GOOD}[baselines."{name}"]\nkl_weight = 1\n')[0]


def test_a_baseline_is_judged_with_the_settings_it_leaves_out() -> None:
    assert problems(f"{GOOD}[baselines.after]\nclip_low = 3\n") == [
        "my.toml:18: baselines.after.clip_low: must lie below clip_high, but 3 >= 2, the recipe's; give clip_high too"
    ]
    assert problems(f"{GOOD}[baselines.after]\nclip_high = -21\n") == [
        "my.toml:18: baselines.after.clip_high: must lie above clip_low, but -21 <= -20, the recipe's; "
        "give clip_low too"
    ]
    assert problems(f"{GOOD}[baselines.mine]\nclip_low = 3\nclip_high = 1\n") == [
        "my.toml:18: baselines.mine.clip_low: must lie below clip_high, but 3 >= 1"
    ]


def test_all_problems_are_reported_at_once_in_the_order_of_their_lines() -> None:
    text = (
        GOOD.replace('name = "mine"', 'nmae = "mine"\nkl_band = [5, 1]')
        .replace("low = 1e-4", "low = 2")
        .replace("clip_high = 2", "clip_high = -30\nencoder_dropout = 1.0")
        .replace("epochs = 40", "epochs = 20\nlearning_rate = 0")
    )
    found = problems(text)
    keys = [line.split(": ")[1] for line in found]
    assert keys == [
        "study.nmae",
        "study.kl_band",
        "training.learning_rate",
        "space.kl_weight",
        "space.clip_low",
        "space.encoder_dropout",
        "space.annealing_epochs",
    ]
    assert [int(line.split(":")[1]) for line in found] == [2, 3, 13, 15, 16, 18, 19]


def test_missing_tables_are_named_without_a_line() -> None:
    assert problems("[study]\nname = 'a'\ntrials = 3\n") == [
        f"my.toml: {table}: missing table" for table in ("data", "model", "training", "space")
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "my.toml: is empty; `klsearch init FILE` writes"),
        ("# only a comment\n", "my.toml: is empty"),
        ("[study]\nname = \n", "my.toml:2: is not TOML: invalid value (column 8)"),
        ("[study]\nname = 'a", "my.toml:2: is not TOML: "),
        ("a = 1\na = 2\nb = 1\n", "my.toml:2: is not TOML: "),
        ("\x00\x01", "my.toml:1: is not TOML: "),
        ("a = " + "[" * 5000, "my.toml: is not TOML: "),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_line(text: str, problem: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def _leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [
        below
        for key, value in table.items()
        for below in [(*path, key), *(_leaves(value, (*path, key)) if isinstance(value, dict) else [])]
    ]


_DOCUMENT = tomllib.loads(template())
_JUNK = st.sampled_from([-1, 0, 2.5, float("nan"), float("inf"), "x", "", True, [], [1], {}, {"low": 2, "high": 1}])


@given(st.lists(st.tuples(st.sampled_from(_leaves(_DOCUMENT)), st.none() | _JUNK), min_size=1, max_size=4))
def test_any_change_gives_a_definition_or_lines_of_problems(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    document: Any = tomllib.loads(template())
    for path, value in changes:
        _change(document, path, value)
    text = tomlkit.dumps(document)
    try:
        parse_definition(text, "my.toml")
    except DefinitionError as error:
        assert error.problems
        assert all(line.startswith("my.toml:") and "\n" not in line for line in error.problems)


def _change(document: Any, path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        document = document.get(part) if isinstance(document, dict) else None
    if isinstance(document, dict):
        document.pop(path[-1], None) if value is None else document.update({path[-1]: value})
