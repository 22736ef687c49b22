"""The remedy of each ill."""

import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest

from klsearch.studies.record import DataFacts, StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.remedies import epochs_to_settle, remedy, side_of_band
from klsearch.vae.diagnostics.gates import Verdict
from klsearch.vae.hyperparameters import Hyperparameters

Ill = Callable[..., StudyRecord]
NAN = float("nan")


def test_a_kl_that_still_moves_is_trained_for_the_epochs_that_its_slope_asks_for(ill: Ill) -> None:
    """KL = 2 (t/20)^½ has the relative slope 1/2t: 0.028 in the middle of the last window, 0.008 at 63 epochs."""
    study = ill(seeds=[{}] * 5 + [{"growth": 0.5}] * 3)
    found = summarize(study)
    assert found.verdict is Verdict.NOT_STABLE
    epochs = tomllib.loads(found.next.code)["training"]["epochs"]
    assert 60 <= epochs <= 75
    assert found.next.action == f"Train for {epochs} epochs"
    assert epochs_to_settle(study, study.confirmation[5:]) == epochs


def test_a_slope_that_has_not_begun_to_fall_is_taken_to_fall_with_the_epoch(ill: Ill) -> None:
    """KL = 2 (t/20)^2 has the relative slope 2/t, 0.111 in the middle of the last window: 0.008 is 14 times as far."""
    study = ill(seeds=[{"growth": 2.0}] * 8)
    assert epochs_to_settle(study, study.confirmation) == 4 * 20, "never more than four times the epochs"


def test_how_fast_slopes_fall_is_told_by_all_seeds_together(ill: Ill) -> None:
    """The last window of the one that sways happens to fall, so that alone it would ask for too few epochs."""
    alike = ill(seeds=[{"growth": 0.5}] * 8)
    one_odd = ill(seeds=[{"growth": 0.5}] * 7 + [{"growth": 0.5, "sway": 0.01}])
    by_itself = epochs_to_settle(one_odd, one_odd.confirmation[7:])
    together = epochs_to_settle(one_odd, one_odd.confirmation)
    assert by_itself < together == epochs_to_settle(alike, alike.confirmation)


def test_where_the_epochs_asked_for_are_the_most_it_is_not_promised_that_they_settle_it(ill: Ill) -> None:
    advice = summarize(ill(seeds=[{"growth": 2.0}] * 8)).next
    assert advice.action == "Train for 80 epochs"
    assert advice.reason.endswith("; more than four times as many are not advised at once.")


def test_a_kl_that_scatters_little_is_judged_over_more_epochs(ill: Ill) -> None:
    """A KL of 2 ± 0.06 with a period of 10 epochs rises by 0.1 within the last 5, and not at all over 10."""
    study = ill(seeds=[{"sway": 0.06}] * 8)
    assert all(abs(run.kl_slope) > 0.01 for run in study.confirmation)
    advice = summarize(study).next
    assert advice.action == "Judge the KL over 10 epochs, and train for 40"
    # As many epochs as `check` asks for: four windows after the longest annealing, of which there is none.
    assert tomllib.loads(advice.code) == {"gates": {"window": 10}, "training": {"epochs": 40}}


@pytest.mark.parametrize(("sway", "tables"), [(0.3, {}), (0.06, {"gates": {"window": 6}})])
def test_a_kl_that_swings_is_trained_in_smaller_steps_for_as_much_longer(
    ill: Ill, sway: float, tables: dict[str, dict[str, int]]
) -> None:
    study = ill(seeds=[{"sway": sway}] * 8, **tables)
    advice = summarize(study).next
    asked = tomllib.loads(advice.code)["training"]
    assert 1e-4 <= asked["learning_rate"] <= 5e-4
    slower = 1e-3 / asked["learning_rate"]
    assert asked["epochs"] == pytest.approx(20 * min(slower, 4), abs=5)
    assert ("go as far in more epochs" in advice.reason) == (slower < 4)
    assert advice.action == (
        f"Lower the learning rate to {asked['learning_rate']:g}, and train for {asked['epochs']} epochs"
    )


@pytest.mark.parametrize(
    ("kl", "answer"), [(1.0, "Lower the KL weight to about "), (4.0, "Judge the KL over 10 epochs")]
)
def test_seeds_that_sway_at_the_edge_of_the_kl_weights_search_beyond_it_if_their_kl_may_rise(
    ill: Ill, kl: float, answer: str
) -> None:
    """The error falls towards the lowest weight, on which the winner lies; the band is 0 to 5."""
    weights = [10 ** (-4 + 4 * n / 19) for n in range(20)]
    trials = [
        {
            "unexplained": 0.1 * (weight / 1e-4) ** 0.2,
            "kl": 0.2 / weight**0.25,
            "settings": Hyperparameters(kl_weight=weight),
        }
        for weight in weights
    ]
    lowest = {"settings": Hyperparameters(kl_weight=1e-4), "unexplained": 0.1, "kl": kl}
    found = summarize(ill(trials, seeds=[lowest] * 5 + [{**lowest, "sway": 0.06}] * 3))
    assert found.edges == (("kl_weight", "low"),)
    assert found.next.action.startswith(answer)
    if "kl_weight" in found.next.code:
        assert "3 of 8 trainings fail at the lowest KL weights of those searched (0.0001 to 1)" in found.next.reason
        assert tomllib.loads(found.next.code)["space"]["kl_weight"]["high"] <= 1e-4


def test_unscaled_data_are_scaled_first(ill: Ill, unscaled: DataFacts) -> None:
    for bad in ({"kl": NAN}, {"kl": 525.0}):
        found = summarize(ill([bad] * 20, facts=unscaled))
        assert tomllib.loads(found.next.code) == {"data": {"scaling": "standard"}}


def test_where_all_diverge_the_learning_rate_falls_and_no_edge_is_named(ill: Ill) -> None:
    advice = summarize(ill([{"kl": NAN}] * 20)).next
    assert tomllib.loads(advice.code)["training"] == {"learning_rate": pytest.approx(1e-4), "clipnorm": 1.0}
    assert "edge" not in advice.words


def test_a_learning_rate_at_which_nothing_is_learnt_or_all_diverges_becomes_the_usual_one(ill: Ill) -> None:
    fast = Hyperparameters(kl_weight=0.01, learning_rate=0.3)
    for bad, told in (({"kl": NAN}, "diverged"), ({"kl": 0.9, "active": 0, "unexplained": 1.01}, "learn nothing")):
        advice = summarize(ill([{**bad, "settings": fast}] * 20)).next
        assert tomllib.loads(advice.code)["training"] == {"learning_rate": 1e-3, "clipnorm": 1.0}
        assert advice.reason == f"20 of 20 trainings {told}, at learning rates of 0.3."


def test_one_training_learns_nothing(ill: Ill) -> None:
    fast = Hyperparameters(kl_weight=0.01, learning_rate=0.3)
    study = ill(seeds=[{}] * 7 + [{"kl": 0.9, "active": 0, "unexplained": 1.01, "settings": fast}])
    told = remedy(study, study.confirmation[7:], 8)
    assert told is not None and told.reason == "1 of 8 trainings learns nothing, at learning rates of 0.3."


def test_gates_stricter_than_usual_are_loosened_where_they_alone_are_missed(ill: Ill) -> None:
    """KL = 2 (t/20)^0.05 has the relative slope 0.05/t: 0.003 in the last window."""
    advice = summarize(ill(seeds=[{"growth": 0.05}] * 8, gates={"max_kl_slope": 1e-4})).next
    assert tomllib.loads(advice.code) == {"gates": {"max_kl_slope": 0.01}}
    assert advice.reason == (
        "8 of 8 trainings fail by gates stricter than usual alone (`max_kl_slope` 0.0001 where 0.01 is usual)."
    )


def test_where_no_weight_learns_anything_under_the_bernoulli_likelihood_it_is_the_likelihood(ill: Ill) -> None:
    settings = [Hyperparameters(kl_weight=one) for one in (0.01, 0.1, 1.0, 10.0)]
    deaf = [{"kl": 0.0, "active": 0, "unexplained": 1.0, "settings": one} for one in settings] * 5
    bernoulli = {"model": {"likelihood": "bernoulli"}}
    code = tomllib.loads(summarize(ill(deaf, **bernoulli)).next.code)
    assert code == {"model": {"likelihood": "gaussian"}, "data": {"scaling": "standard"}}
    one_learns = [{"unexplained": 0.5, "kl": 9.0}, *deaf[1:]]
    assert summarize(ill(one_learns, **bernoulli)).next.action.startswith("Lower the KL weight")


def test_under_any_other_likelihood_it_is_the_weight(ill: Ill) -> None:
    settings = [Hyperparameters(kl_weight=one) for one in (0.01, 0.1, 1.0, 10.0)]
    deaf = [{"kl": 0.0, "active": 0, "unexplained": 1.0, "settings": one} for one in settings] * 5
    advice = summarize(ill(deaf, model={"likelihood": "poisson"})).next
    assert advice.action.startswith("Lower the KL weight")


def test_a_collapse_is_answered_with_lower_weights_no_farther_than_a_decade(ill: Ill) -> None:
    bad = [{"kl": 1e-4, "active": 0, "settings": Hyperparameters(kl_weight=one)} for one in (0.1, 0.5, 1.0, 0.2)]
    advice = summarize(ill(bad * 5)).next
    assert advice.action.startswith("Lower the KL weight")
    assert 0.01 / 10**0.5 * 0.95 <= tomllib.loads(advice.code)["space"]["kl_weight"]["low"] < 0.1


def test_a_kl_above_the_band_is_answered_with_the_weight_at_which_the_line_reaches_it(ill: Ill) -> None:
    """KL = 0.2 / weight: √(0.5 · 5) = 1.58 is reached at 0.126."""
    bad = [{"kl": 0.2 / one, "settings": Hyperparameters(kl_weight=one)} for one in (1e-3, 3e-3, 1e-2, 2e-2)]
    code = tomllib.loads(summarize(ill(bad * 5)).next.code)["space"]["kl_weight"]
    assert (code["low"] * code["high"]) ** 0.5 == pytest.approx(0.126, rel=0.05)


def test_the_weight_of_seeds_that_fail_is_left_behind(ill: Ill) -> None:
    """The trials' line, KL = 0.2 / weight, meets √(0.5 · 5) at 0.126; half a decade below lies the winner's 0.04."""
    trials = [{"kl": 0.2 / one, "settings": Hyperparameters(kl_weight=one)} for one in (0.04, 0.1, 0.2, 0.3)] * 5
    high = {"kl": 5.1, "settings": Hyperparameters(kl_weight=0.06)}
    code = tomllib.loads(summarize(ill(trials, seeds=[{}] * 6 + [high] * 2)).next.code)["space"]["kl_weight"]
    assert (code["low"], code["high"]) == (0.06, pytest.approx(0.4, rel=0.05))


def test_overfitting_is_never_answered_with_more_training(ill: Ill) -> None:
    advice = summarize(ill(seeds=[{"growth": 0.5, "gap": 0.8}] * 8)).next
    assert advice.action == "Use a smaller model, with dropout"
    assert "80 % worse than training" in advice.reason
    assert tomllib.loads(advice.code)["model"] == {"hidden": [16]}


def test_own_settings_that_collapsed_are_named_in_the_sentence(ill: Ill) -> None:
    found = summarize(ill(seeds=[{}] * 8, baseline=[{"kl": 0.0, "active": 0}] * 8))
    assert "Your settings (`mine`) collapsed (KL 0): lower the KL weight to about " in found.sentence


def photos(ill: Ill) -> StudyRecord:
    """The summed KL of 4 latents is 0.0316 over the weight: √(20 · 200) = 63.2 is reached at a weight of 5e-4."""
    weights = [1e-4, 3e-4, 1e-3, 3e-3]
    trials = [{"kl": 0.0316 / one / 4, "settings": Hyperparameters(kl_weight=one)} for one in weights] * 5
    collapsed = {"kl": 0.0, "active": 0, "settings": Hyperparameters(kl_weight=1.0)}
    return ill(trials, baseline=[collapsed] * 8, study={"kl_reduction": "sum", "kl_band": [20.0, 200.0]})


def test_own_settings_that_collapsed_are_told_the_weight_at_which_the_trials_reach_the_band(ill: Ill) -> None:
    sentence = summarize(photos(ill)).sentence
    assert "Your settings (`mine`) collapsed (KL 0): lower the KL weight to about 0.0005." in sentence


def test_own_settings_that_ran_away_are_told_to_raise_the_weight(ill: Ill) -> None:
    """KL = 0.2 / weight: √(0.5 · 5) = 1.58 is reached at 0.126."""
    trials = [{"kl": 0.2 / one, "settings": Hyperparameters(kl_weight=one)} for one in (0.01, 0.05, 0.1, 0.2)]
    wild = {"kl": 2000.0, "settings": Hyperparameters(kl_weight=1e-4)}
    sentence = summarize(ill(trials * 5, baseline=[wild] * 8)).sentence
    assert "Your settings (`mine`) ran away (KL 2e+03): raise the KL weight to about 0.1." in sentence


def test_own_settings_that_diverged_are_named(ill: Ill) -> None:
    assert "Your settings (`mine`) diverged." in summarize(ill(seeds=[{}] * 8, baseline=[{"kl": NAN}] * 8)).sentence


def test_the_side_of_the_band_is_that_of_the_users_own_settings_else_that_of_most_trials(ill: Ill) -> None:
    assert side_of_band(photos(ill)) == -1
    assert side_of_band(ill([{"kl": 9.0}] * 11 + [{"kl": 0.1}] * 9)) == 1
    assert side_of_band(ill([{"kl": 9.0}] * 9 + [{"kl": 0.1}] * 11)) == -1
    assert side_of_band(ill()) == 0


def test_seeds_that_diverged_are_counted_where_the_kl_of_the_test_split_is_a_caveat(ill: Ill) -> None:
    found = summarize(ill(seeds=[{"kl": NAN}] * 7 + [{"test_kl": 5.26}]))
    assert "the KL of 1 of 8 seeds lies outside the band" in found.sentence


def test_a_kl_of_the_test_split_outside_the_band_is_a_caveat_with_its_numbers(ill: Ill) -> None:
    kls = (5.26, 5.09, 5.18)
    found = summarize(ill(seeds=[{}] * 5 + [{"test_kl": one} for one in kls]))
    assert found.verdict is Verdict.CAVEATS
    assert "the KL of 3 of 8 seeds lies outside the band of 0.5 to 5 on the test split (5.26, 5.18, 5.09)" in (
        found.sentence
    )


def test_a_winner_that_a_pca_beats_is_never_plain_stable(ill: Ill, unscaled: DataFacts) -> None:
    study = ill(seeds=[{}] * 8)
    assert summarize(study).verdict is Verdict.STABLE
    assert study.data is not None
    found = summarize(replace(study, data=replace(study.data, pca={"test": 0.2})))
    assert found.verdict is Verdict.CAVEATS
    assert "a PCA with 4 components reconstructs better (`unexplained` 0.3 against 0.2" in found.sentence


def test_no_seed_of_three_passing_is_not_stable(ill: Ill) -> None:
    assert summarize(ill(seeds=[{"kl": 525.0}] * 3)).verdict is Verdict.NOT_STABLE


def test_a_candidate_that_only_still_moves_but_dominates_is_named(ill: Ill) -> None:
    study = ill([{}] * 19 + [{"kl": 2.7, "growth": 0.4, "unexplained": 0.1}], seeds=[{"kl": 1.0}] * 8)
    assert "Trial 19 reconstructs better (`unexplained` 0.1)" in summarize(study).sentence
