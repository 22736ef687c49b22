"""What follows from a definition."""

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from klsearch.studies.definitions.definition import StudyDefinition, differences
from klsearch.vae.hyperparameters import AFTER, BEFORE, Hyperparameters


def define(**sections: dict[str, Any]) -> StudyDefinition:
    """A small sound definition; each section's entries replace or join its own."""
    document: dict[str, dict[str, Any]] = {
        "study": {"name": "mine", "trials": 20},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [16], "latent_dim": 4},
        "training": {"epochs": 40},
        "space": {
            "l2": {"low": 1e-6, "high": 1e-2, "log": True},
            "kl_weight": {"low": 1e-4, "high": 1.0, "log": True},
            "annealing_epochs": {"low": 0, "high": 20},
            "clip_high": 2,
        },
    }
    for section, entries in sections.items():
        document[section] = document.get(section, {}) | entries
    return StudyDefinition.model_validate(document)


def test_searched_values_join_the_fixed_ones_and_those_of_training() -> None:
    asked = define(training={"learning_rate": 0.01, "clipnorm": 3})
    settings = asked.hyperparameters({"kl_weight": 0.5, "annealing_epochs": 7.0, "l2": 1e-3})
    assert settings == Hyperparameters(
        kl_weight=0.5, clip_high=2.0, annealing_epochs=7, l2=1e-3, learning_rate=0.01, clipnorm=3.0
    )


def test_a_searched_learning_rate_replaces_that_of_training() -> None:
    asked = define(space={"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}})
    assert list(asked.space.searched())[-1] == "learning_rate"
    values = {"kl_weight": 0.5, "annealing_epochs": 0, "l2": 1e-3, "learning_rate": 5e-3}
    assert asked.hyperparameters(values).learning_rate == 5e-3


def test_the_recipe_is_always_among_the_baselines() -> None:
    assert define().baseline_hyperparameters() == {"before": BEFORE, "after": AFTER}


def test_baselines_take_the_study_s_learning_rate_and_clipnorm_unless_given() -> None:
    asked = define(training={"learning_rate": 0.01}, baselines={"mine": {"kl_weight": 1.0, "clipnorm": 1.0}})
    baselines = asked.baseline_hyperparameters()
    assert list(baselines) == ["before", "after", "mine"]
    assert {settings.learning_rate for settings in baselines.values()} == {0.01}
    assert (baselines["before"].clipnorm, baselines["mine"].clipnorm) == (math.inf, 1.0)


def test_settings_a_baseline_leaves_out_are_off_and_of_the_recipe_s_own_are_the_recipe_s() -> None:
    asked = define(baselines={"mine": {"kl_weight": 0.3}, "after": {"l2": 0.0}})
    baselines = asked.baseline_hyperparameters()
    assert baselines["mine"] == Hyperparameters(kl_weight=0.3)
    assert baselines["after"] == Hyperparameters(kl_weight=1e-4, clip_low=-20.0, clip_high=2.0, annealing_epochs=10)


def test_baselines_may_anneal_longer_than_the_space_allows() -> None:
    asked = define(baselines={"mine": {"kl_weight": 1.0, "annealing_epochs": 100}})
    assert asked.baseline_hyperparameters()["mine"].annealing_epochs == 100


def test_a_kl_weight_that_a_baseline_leaves_out_is_that_of_the_plain_bound() -> None:
    """A mean KL over 4 latents against a summed reconstruction: one nat per nat is a weight of 4."""
    asked = define(model={"kind": "dense", "hidden": [16], "latent_dim": 4}, baselines={"mine": {"l2": 0.1}})
    settled = asked.settle(shape=(64,), kl_band=None)
    assert settled.baseline_hyperparameters()["mine"] == Hyperparameters(kl_weight=4.0, l2=0.1)


def test_baselines_of_earlier_releases_take_the_recipe_s_but_for_rivals_and_what_training_decides() -> None:
    own = {"mine": {"kl_weight": 0.3}, "rival": {"method": "beta1"}, "after": {"l2": 0.0}}
    asked = define(training={"learning_rate": 0.01}, baselines=own)
    filled = asked.model_copy(update={"baselines": asked.filled_baselines()}).settle(shape=(64,), kl_band=None)
    old, new = filled.baseline_hyperparameters(), asked.settle(shape=(64,), kl_band=None).baseline_hyperparameters()
    assert old["mine"] == Hyperparameters(kl_weight=0.3, annealing_epochs=5, learning_rate=0.01)
    assert {name: old[name] == new[name] for name in old} == {
        "before": True,
        "after": True,
        "mine": False,
        "rival": True,
    }


def test_a_baseline_that_repeats_another_is_told_with_the_first_of_its_settings() -> None:
    repeat = {"kl_weight": BEFORE.kl_weight, "annealing_epochs": BEFORE.annealing_epochs}
    own = {"mine": repeat, "other": {"kl_weight": 0.3}, "again": {"kl_weight": 0.3, "l2": 0.0}}
    assert define(baselines=own).same_baselines() == {"mine": "before", "again": "other"}


@pytest.mark.parametrize(
    ("reconstruction", "kl", "weight"),
    [("sum", "sum", 1.0), ("sum", "mean", 4.0), ("mean", "sum", 1 / 64), ("mean", "mean", 4 / 64)],
)
def test_plain_beta_1_is_one_nat_per_nat_from_the_start(reconstruction: str, kl: str, weight: float) -> None:
    asked = define(
        study={"kl_reduction": kl},
        model={"reconstruction_reduction": reconstruction},
        baselines={"rival": {"method": "beta1"}},
    )
    settled = asked.settle(shape=(64,), kl_band=None)
    assert settled.baseline_hyperparameters()["rival"] == Hyperparameters(kl_weight=weight)
    assert settled.baseline_method("rival") == "beta1"


def test_a_method_keeps_the_learning_rate_of_the_study_or_its_own() -> None:
    methods = {"slow": {"method": "control", "learning_rate": 1e-4}, "same": {"method": "sigma"}}
    asked = define(training={"learning_rate": 0.01, "clipnorm": 1.0}, baselines=methods)
    found = asked.settle(shape=(64,), kl_band=None).baseline_hyperparameters()
    assert [(found[name].learning_rate, found[name].clipnorm) for name in methods] == [(1e-4, 1.0), (0.01, 1.0)]


def test_a_band_left_to_a_reference_judges_nothing_before_it_is_found() -> None:
    asked = define(study={"kl_band": "auto"})
    with pytest.raises(ValueError, match="no reference training has found it"):
        asked.thresholds()
    assert asked.settle(shape=(64,), kl_band=(1.0, 3.0)).thresholds().kl_band == (1.0, 3.0)


def test_a_band_that_is_given_is_not_found() -> None:
    asked = define(study={"kl_band": [0.5, 4]})
    assert asked.settle(shape=(64,), kl_band=(1.0, 3.0)).thresholds().kl_band == (0.5, 4.0)


def test_the_thresholds_hold_the_band_in_its_unit() -> None:
    asked = define(study={"kl_band": [1, 40], "kl_reduction": "sum"}, gates={"window": 3, "max_clip_share": 0.1})
    thresholds = asked.thresholds()
    assert (thresholds.kl_band, thresholds.kl_reduction) == ((1.0, 40.0), "sum")
    assert (thresholds.window, thresholds.max_clip_share, thresholds.max_kl_slope) == (3, 0.1, 0.01)


def test_a_training_long_enough_gives_no_warning() -> None:
    assert define(training={"epochs": 40}).cautions() == []
    assert "train at least 40" in define(training={"epochs": 39}).cautions()[0]


def test_a_definition_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        define().study.trials = 3


@pytest.mark.parametrize(
    "sections",
    [
        {"study": {"name": "other"}},
        {"study": {"trials": 500}},
        {"gates": {"max_kl_slope": 0.5, "min_active_share": 0.5, "max_clip_share": 0.5}},
        {"confirmation": {"seeds": 20}},
        {"baselines": {"mine": {"kl_weight": 1.0}}},
        {"data": {"source": "digits", "split": {"validation": 0.15}}},
    ],
)
def test_the_fingerprint_leaves_out_what_does_not_change_a_trial(sections: dict[str, Any]) -> None:
    assert define(**sections).fingerprint_parts() == define().fingerprint_parts()


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        ({"training": {"learning_rate": 0.01}}, "training.learning_rate: 0.001, now 0.01"),
        ({"training": {"clipnorm": 1.0}}, "training.clipnorm: none, now 1.0"),
        ({"study": {"seed": 3}}, "study.seed: 0, now 3"),
        ({"study": {"kl_band": [0, 4]}}, "study.kl_band: [0.0, 5.0], now [0.0, 4.0]"),
        ({"study": {"kl_reduction": "sum"}}, "study.kl_reduction: 'mean', now 'sum'"),
        ({"study": {"penalty": 2}}, "study.penalty: 1.0, now 2.0"),
        ({"study": {"sampler": "qmc"}}, "study.sampler: 'tpe', now 'qmc'"),
        ({"gates": {"window": 6}}, "gates.window: 5, now 6"),
        ({"data": {"source": "rows.npy"}}, "data.source: 'digits', now 'rows.npy'"),
        ({"data": {"split": {"test": 0.2}}}, "data.split.test: 0.15, now 0.2"),
        ({"model": {"hidden": [16, 8]}}, "model.hidden: [16], now [16, 8]"),
        ({"space": {"clip_high": math.inf}}, "space.clip_high: 2.0, now none"),
        ({"space": {"clip_low": {"low": -9, "high": -8}}},
         "space.clip_low: none, now {low = -9.0, high = -8.0, log = false}"),
        ({"space": {"kl_weight": {"low": 1e-3, "high": 1.0, "log": True}}}, "space.kl_weight.low: 0.0001, now 0.001"),
    ],
)  # fmt: skip
def test_what_changes_a_trial_is_a_difference_of_one_key(sections: dict[str, Any], difference: str) -> None:
    old, new = define().fingerprint_parts(), define(**sections).fingerprint_parts()
    assert differences(old, new) == [difference]
    assert differences(new, new) == []


def test_the_fingerprint_survives_json() -> None:
    parts = define(space={"clip_low": -math.inf}).fingerprint_parts()
    assert json.loads(json.dumps(parts, allow_nan=False)) == parts


@pytest.mark.parametrize("source", ["rows.npy", "data/rows.npy", "/elsewhere/rows.npy"])
def test_a_study_may_move_with_its_data_to_another_folder(source: str) -> None:
    assert define(data={"source": source}).fingerprint_parts()["data"]["source"] == "rows.npy"


def test_a_study_of_before_there_were_schedules_and_free_bits_reads_as_linear_and_without() -> None:
    earlier = define().fingerprint_parts()
    for name in ("kl_schedule", "cycles", "ramp_share"):
        del earlier["training"][name]
    del earlier["space"]["free_bits"]
    assert define(training={"kl_schedule": "linear"}).changes_since(earlier) == []
    assert define(space={"free_bits": 0.5}).changes_since(earlier) == ["space.free_bits: 0.0, now 0.5"]
    (changed,) = define(training={"kl_schedule": "cosine"}).changes_since(earlier)
    assert changed.startswith("training.kl_schedule: none, now {shape = 'cosine'")
    spelled = define(training={"kl_schedule": "cyclical", "cycles": 4}).fingerprint_parts()
    assert differences(define(training={"kl_schedule": "cyclical"}).fingerprint_parts(), spelled) == []


CHOSEN = {"kl_schedule": ["linear", "cosine"]}
COSINE = {"kl_schedule": "cosine"}


@pytest.mark.parametrize(
    ("training", "space", "baseline", "refused"),
    [
        ({"kl_schedule": "cosine"}, {}, {}, True),
        ({}, CHOSEN, {"kl_schedule": "sigmoid"}, True),
        ({"kl_schedule": "cyclical"}, {}, {}, False),
        ({}, {"kl_schedule": ["linear", "cyclical"]}, {}, False),
        ({}, {}, {"kl_schedule": "cyclical"}, False),
    ],
)
def test_cycles_need_a_training_that_is_cyclical(
    training: dict[str, Any], space: dict[str, Any], baseline: dict[str, Any], refused: bool
) -> None:
    """Of all trials, of some that are searched, or of a baseline."""
    tables = {
        "training": {**training, "cycles": 3},
        "space": space,
        "baselines": {"mine": {"kl_weight": 1, **baseline}},
    }
    if not refused:
        assert define(**tables).training.schedule().cycles == 3
        return
    with pytest.raises(ValidationError) as found:
        define(**tables)
    (problem,) = found.value.errors()
    assert problem["loc"] == ("training", "cycles")
    assert problem["msg"].startswith("has no effect on kl_schedule = '")


def test_where_the_schedule_is_searched_every_setting_says_its_own() -> None:
    asked = define(training={"kl_schedule": "sigmoid"}, space=CHOSEN, baselines={"mine": {"kl_weight": 1, **COSINE}})
    baselines = asked.baseline_hyperparameters()
    assert [baselines[name].kl_schedule for name in ("before", "after", "mine")] == ["sigmoid", "sigmoid", "cosine"]
    found = asked.hyperparameters({"kl_weight": 0.5, "annealing_epochs": 7, "l2": 1e-3, "kl_schedule": "linear"})
    assert (found.kl_schedule, asked.schedule(found).shape) == ("linear", "linear")


def test_where_it_is_not_searched_only_a_baseline_of_another_says_it() -> None:
    """So that the settings of a study are those that earlier releases wrote."""
    asked = define(
        training={"kl_schedule": "cyclical", "cycles": 2},
        baselines={"same": {"kl_weight": 1, "kl_schedule": "cyclical"}, "other": {"kl_weight": 1, **COSINE}},
    )
    baselines = asked.baseline_hyperparameters()
    assert [baselines[name].kl_schedule for name in ("before", "same", "other")] == [None, None, "cosine"]
    assert [asked.schedule(baselines[name]).shape for name in ("same", "other")] == ["cyclical", "cosine"]
    assert asked.schedule(baselines["same"]).cycles == 2


def test_a_study_that_begins_to_choose_its_schedule_is_another() -> None:
    earlier = define().fingerprint_parts()
    del earlier["space"]["kl_schedule"]
    assert define().changes_since(earlier) == []
    assert define(space=CHOSEN).changes_since(earlier) == ['space.kl_schedule: none, now ["linear", "cosine"]']


def test_a_recurrent_study_of_before_there_were_lstms_is_one_of_grus() -> None:
    recurrent = {"kind": "recurrent", "hidden": [4], "latent_dim": 2}
    earlier = define(model=recurrent).fingerprint_parts()
    del earlier["model"]["cell"]
    assert define(model={**recurrent, "cell": "gru"}).changes_since(earlier) == []
    assert define(model={**recurrent, "cell": "lstm"}).changes_since(earlier) == ["model.cell: none, now 'lstm'"]


def test_a_study_too_small_for_a_verdict_is_warned_of_before_it_trains() -> None:
    asked = define(study={"name": "small", "trials": 19}, confirmation={"seeds": 7})
    few = [line.split(":")[0] for line in asked.cautions() if "too few for a verdict" in line]
    assert few == ["study.trials", "confirmation.seeds"]
    assert [line.code for line in asked.cautions()] == ["few-trials", "few-seeds"]
    assert define(confirmation={"seeds": 0}).cautions()[-1].code == "no-confirmation"
    enough = define(study={"name": "small", "trials": 20}, confirmation={"seeds": 8})
    assert not any("too few" in line for line in enough.cautions())


MINE = {"reconstruction": "sum", "reconstruction_weight": 3.0, "kl": "sum", "kl_weight": 0.5, "l2": 0.03}


def test_a_baseline_in_terms_of_the_user_s_own_loss_is_settled_in_those_of_the_study() -> None:
    """Of 64 features and 4 latents: β = 0.5 / 3, and a mean over latents takes d times as much; L2 a third."""
    settled = define(baselines={"mine": MINE}).settle(shape=(64,), kl_band=None)
    mine = settled.baseline_hyperparameters()["mine"]
    assert mine.kl_weight == pytest.approx(4 * 0.5 / 3)
    assert mine.l2 == pytest.approx(0.01)
    assert settled.settle(shape=(64,), kl_band=None) == settled, "settled once is settled"
    summed = define(study={"kl_reduction": "sum"}, baselines={"mine": {"reconstruction": "mean", "kl": "batch sum"}})
    weight = summed.settle(shape=(64,), kl_band=None).baseline_hyperparameters()["mine"].kl_weight
    assert weight == pytest.approx(64 * 128), "features times rows of a batch, at a weight of 1"


def test_a_script_s_mean_over_tokens_is_one_over_places() -> None:
    """Sequences of 7 places and 5 tokens: a mean of cross-entropies divides by 7."""
    asked = define(model={"likelihood": "categorical"}, baselines={"mine": {"reconstruction": "mean", "kl": "sum"}})
    settled = asked.settle(shape=(7, 5), kl_band=None).baseline_hyperparameters()["mine"]
    assert settled.kl_weight == pytest.approx(4 * 7)
    other = define(baselines={"mine": {"reconstruction": "mean", "kl": "sum"}}).settle(shape=(7, 5), kl_band=None)
    assert other.baseline_hyperparameters()["mine"].kl_weight == pytest.approx(4 * 35)


@pytest.mark.parametrize(("optimizer", "learning_rate"), [("adam", 0.01), ("rmsprop", 0.01), ("sgd", 0.03)])
def test_gradients_are_translated_with_the_loss(optimizer: str, learning_rate: float) -> None:
    """The user's loss is three times the study's, and so its gradients: a third of the bound, three times the rate."""
    asked = define(
        training={"optimizer": optimizer}, baselines={"mine": {**MINE, "clipnorm": 6.0, "learning_rate": 0.01}}
    )
    mine = asked.settle(shape=(64,), kl_band=None).baseline_hyperparameters()["mine"]
    assert mine.clipnorm == pytest.approx(2.0)
    assert mine.learning_rate == pytest.approx(learning_rate)


def test_what_training_decides_is_in_the_terms_of_the_study() -> None:
    asked = define(training={"optimizer": "sgd", "learning_rate": 0.01, "clipnorm": 6.0}, baselines={"mine": MINE})
    mine = asked.settle(shape=(64,), kl_band=None).baseline_hyperparameters()["mine"]
    assert (mine.learning_rate, mine.clipnorm) == (0.01, 6.0)


def test_it_is_said_what_the_user_s_own_terms_mean() -> None:
    asked = define(baselines={"mine": MINE, "other": {"kl_weight": 1.0}})
    assert asked.translations((64,)) == [
        "baselines.mine: your β = 0.167, kl_weight = 0.667, l2 = 0.01 in the terms of this study; a KL of 4 in your "
        "script is 1 nat per latent"
    ]


@pytest.mark.parametrize(
    ("baselines", "words"),
    [
        ({"after": {"kl": "sum"}}, "the recipe's settings are in the terms of the study"),
        ({"mine": {"method": "beta1", "kl": "sum"}}, "method = 'beta1' decides it"),
    ],
)
def test_terms_of_the_user_s_own_are_for_settings_of_their_own(baselines: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        define(baselines=baselines)


def test_an_optimizer_changes_a_study_but_not_one_that_was_made_before_there_was_a_choice() -> None:
    parts = define().fingerprint_parts()
    earlier = {name: value for name, value in parts["training"].items() if value is not None}
    assert "optimizer" not in earlier
    changed = define(training={"optimizer": "sgd", "learning_rate_schedule": "cosine"})
    assert changed.changes_since({**parts, "training": earlier}) == [
        "training.optimizer: none, now 'sgd'",
        "training.learning_rate_schedule: none, now 'cosine'",
    ]
