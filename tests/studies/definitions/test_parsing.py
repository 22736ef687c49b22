"""Definitions from TOML: every problem at once, each in its place."""

import time
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from klsearch.studies.definitions.catalog import template
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DefinitionError

Problems = Callable[[str], list[str]]
OnlyProblem = Callable[[str, str], str]


def test_a_sound_definition_is_read_with_its_defaults(good: str) -> None:
    definition = parse_definition(good, "my.toml")
    assert definition.study.kl_band == (0.0, 5.0)
    assert definition.confirmation.seeds == 8
    assert definition.training.batch_size == 128


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("\nx = " + "[" * 5000 + "]" * 5000, "my.toml:2: is no definition: it nests more than 16 deep"),
        ("\nx = " + "{a=" * 5000, "my.toml:2: is no definition: it nests more than 16 deep"),
        ("\n" + ".".join("a" * 24_000) + " = 1", "my.toml:2: is no definition: it nests more than 16 deep"),
        ("\n[" + " . ".join(["'a.b'"] * 6000) + "]", "my.toml:2: is no definition: it nests more than 16 deep"),
        ("\nx = {a = 1, " + ".".join(["a"] * 20) + " = 1}", "my.toml:2: is no definition: it nests more than 16 deep"),
        ("x = " + '"\\' * 24_000, "is not TOML"),
        ('x = """' + '\\"""' * 12_000, "is not TOML"),
        (".".join(["a"] * 100_000) + " = 1\n", "is no definition: it has 200,004 characters"),
        ("".join(f"k{number} = 1\n" for number in range(60_000)), "is no definition: it has 648,890 characters"),
    ],
    ids=["digits", "lists", "tables", "key", "header", "inline key", "text", "texts", "parts", "keys"],
)
def test_what_no_one_wrote_by_hand_is_one_line_at_once(text: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(DefinitionError, match=words) as refused:
        parse_definition(text, "my.toml")
    assert time.monotonic() - began < 5
    assert len(refused.value.problems) == 1


def test_annealing_must_leave_a_window_of_full_weight(good: str, only_problem: OnlyProblem) -> None:
    assert parse_definition(good.replace("epochs = 40", "epochs = 25"), "my.toml").training.epochs == 25
    problem = only_problem("epochs = 40", "epochs = 24")
    assert problem.startswith("my.toml:16: space.annealing_epochs: reaches 20, but training lasts 24 epochs")
    assert "lower it to 19 or train at least 25 epochs" in problem


def test_without_annealing_even_two_epochs_are_accepted_with_a_warning(good: str) -> None:
    text = good.replace("annealing_epochs = { low = 0, high = 20 }", "").replace("epochs = 40", "epochs = 2")
    assert "too short to judge `settled`" in parse_definition(text, "my.toml").cautions()[0]


def test_a_variance_is_only_fitted_to_a_gaussian_decoder(good: str, problems: Problems) -> None:
    text = '[baselines.rival]\nmethod = "sigma"\n[space]'
    found = problems(good.replace("latent_dim", 'likelihood = "bernoulli"\nlatent_dim').replace("[space]", text))
    assert len(found) == 1
    assert "baselines.rival.method: 'sigma' fits the variance of a Gaussian decoder" in found[0]


def test_no_test_split_is_accepted_only_where_nothing_is_confirmed(good: str, problems: Problems) -> None:
    text = good.replace('"digits"', '"digits"\nsplit = { test = 0.0 }')
    assert "my.toml:6: data.split.test: must be above 0" in problems(text)[0]
    parse_definition(text + "[confirmation]\nseeds = 0\n", "my.toml")


@pytest.mark.parametrize("name", ["winner", "search", "trial 3"])
def test_baselines_do_not_take_names_with_a_meaning(good: str, problems: Problems, name: str) -> None:
    assert "name with a meaning of its own" in problems(f'{good}[baselines."{name}"]\nkl_weight = 1\n')[0]


def test_a_baseline_is_judged_with_the_settings_it_leaves_out(good: str, problems: Problems) -> None:
    assert problems(f"{good}[baselines.after]\nclip_low = 3\n") == [
        "my.toml:18: baselines.after.clip_low: must lie below clip_high, but 3 >= 2, the recipe's; give clip_high too"
    ]
    assert problems(f"{good}[baselines.after]\nclip_high = -21\n") == [
        "my.toml:18: baselines.after.clip_high: must lie above clip_low, but -21 <= -20, the recipe's; "
        "give clip_low too"
    ]
    assert problems(f"{good}[baselines.mine]\nclip_low = 3\nclip_high = 1\n") == [
        "my.toml:18: baselines.mine.clip_low: must lie below clip_high, but 3 >= 1"
    ]


def test_all_problems_are_reported_at_once_in_the_order_of_their_lines(good: str, problems: Problems) -> None:
    text = (
        good.replace('name = "mine"', 'nmae = "mine"\nkl_band = [5, 1]')
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


def test_missing_tables_are_named_without_a_line(problems: Problems) -> None:
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
        ("a = " + "[" * 5000, "my.toml:1: is no definition: it nests more than 16 deep"),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_line(problems: Problems, text: str, problem: str) -> None:
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


def test_hostile_texts_are_refused_promptly_and_in_few_lines() -> None:
    texts = {
        f"a = {'9' * 4400}": "is not TOML",
        ".".join("a" * 100_000) + " = 1": "is no definition: it has 200,003 characters",
    }
    for text, reason in texts.items():
        with pytest.raises(DefinitionError, match=reason):
            parse_definition(text, "mine.toml")
    with pytest.raises(DefinitionError) as caught:
        parse_definition("".join(f"key{number} = 1\n" for number in range(300)), "mine.toml")
    assert "problems more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 101
