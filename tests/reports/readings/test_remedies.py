"""The recipe's remedies, each answered with what was measured."""

from collections.abc import Callable
from typing import Any

import pytest

from klsearch.reports.page import Heading, Prose, Steps
from klsearch.reports.readings.remedies import remedy_blocks
from klsearch.reports.readings.responses import Response, Responses, Slope, responses
from klsearch.studies.record import StudyRecord

Make = Callable[..., StudyRecord]

UNCLEAR = Slope(change=0.01, low=-0.02, high=0.04)
LOWER, CLIP, DROPOUT = "Lower the KL weight? ", "Clip the log-variance harder? ", "Add encoder dropout? "


def slope(change: float) -> Slope:
    """A slope whose interval reaches a tenth of it to either side."""
    return Slope(change=change, low=change - abs(change) / 10, high=change + abs(change) / 10)


def responses_to(kl: dict[str, Slope], **changes: Any) -> Responses:
    """Responses of the KL to these hyperparameters, in the order in which a study searches them."""
    steps = {"kl_weight": "decade", "clip_low": "1", "clip_high": "1", "encoder_dropout": "0.1"}
    found = {
        name: Response(name=name, step=steps[name], kl=of_kl, unexplained=UNCLEAR, gap=UNCLEAR)
        for name, of_kl in kl.items()
    }
    values: dict[str, Any] = {"found": found, "trials": 40, "needed": 21, "left_out": 0, "explained": 0.9}
    return Responses(**{**values, "kl_is_log": False, "clip_share": 0.3, **changes})


def remedies(study: StudyRecord, found: Responses) -> dict[str, str]:
    blocks = remedy_blocks(study, found)
    return {step.action: step.reason for block in blocks if isinstance(block, Steps) for step in block.items}


def test_the_recipe_s_remedies_are_answered_with_sign_size_interval_and_n(make: Make) -> None:
    found = responses_to(
        {"kl_weight": slope(-3), "clip_low": UNCLEAR, "clip_high": slope(0.5), "encoder_dropout": slope(-0.2)}
    )
    assert remedies(make(0), found) == {
        LOWER + "It would make it worse here": (
            "`kl_weight` lower by one decade changes the KL by +3.00 nats per latent (95 % +2.70 to +3.30) and changes "
            "`unexplained` by -0.010 (95 % -0.040 to +0.020); n = 40."
        ),
        CLIP + "It lowers the KL here": (
            "`clip_low` higher by 1 changes the KL by +0.010 nats per latent (95 % -0.020 to +0.040) and changes "
            "`unexplained` by +0.010 (95 % -0.020 to +0.040); n = 40. "
            "`clip_high` lower by 1 changes the KL by -0.500 nats per latent (95 % -0.550 to -0.450) and changes "
            "`unexplained` by -0.010 (95 % -0.040 to +0.020); n = 40. "
            "In the median trial 30 % of the log-variances lie at a bound."
        ),
        DROPOUT + "It lowers the KL here": (
            "`encoder_dropout` higher by 0.1 changes the KL by -0.200 nats per latent (95 % -0.220 to -0.180) and "
            "changes `unexplained` by +0.010 (95 % -0.020 to +0.040); n = 40."
        ),
    }


@pytest.mark.parametrize(
    ("kl", "answer"),
    [
        ({"kl_weight": slope(-3)}, LOWER + "It would make it worse here"),
        ({"kl_weight": slope(3)}, LOWER + "It lowers the KL here"),
        ({"kl_weight": UNCLEAR}, LOWER + "No effect on the KL can be seen here"),
        # To clip harder is to move the lower bound up and the upper one down.
        ({"clip_low": slope(-1), "clip_high": slope(1)}, CLIP + "It lowers the KL here"),
        ({"clip_low": slope(1), "clip_high": slope(-1)}, CLIP + "It would make it worse here"),
        ({"clip_low": slope(1), "clip_high": slope(1)}, CLIP + "It depends on the bound here"),
        ({"clip_low": slope(1), "clip_high": UNCLEAR}, CLIP + "It would make it worse here"),
        ({"clip_low": UNCLEAR, "clip_high": UNCLEAR}, CLIP + "No effect on the KL can be seen here"),
        ({"clip_high": slope(1)}, CLIP + "It lowers the KL here"),
        ({"encoder_dropout": slope(1)}, DROPOUT + "It would make it worse here"),
    ],
)
def test_the_answer_follows_the_sign(make: Make, kl: dict[str, Slope], answer: str) -> None:
    assert answer in remedies(make(0), responses_to(kl))


def test_where_the_kl_is_too_low_what_raises_it_is_the_help(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klsearch.reports.readings.remedies.side_of_band", lambda study: -1)
    found = responses_to({"kl_weight": slope(-3), "encoder_dropout": slope(-0.2)})
    assert isinstance(heading := remedy_blocks(make(0), found)[0], Heading)
    assert heading.text.startswith("The KL is too low here: ")
    assert LOWER + "It raises the KL here, which is what it needs" in remedies(make(0), found)
    assert DROPOUT + "It lowers the KL further here" in remedies(make(0), found)


def test_a_kl_far_above_the_band_is_answered_by_its_factor(make: Make) -> None:
    found = responses_to({"kl_weight": Slope(change=-1, low=-1, high=-1)}, kl_is_log=True)
    answer = remedies(make(0), found)[LOWER + "It would make it worse here"]
    assert answer.startswith("`kl_weight` lower by one decade multiplies the KL by 10 (95 % 10 to 10) and changes ")


def test_a_bound_that_did_not_vary_is_named_beside_the_one_that_did(make: Make) -> None:
    answer = remedies(make(0), responses_to({"clip_high": slope(1)}))[CLIP + "It lowers the KL here"]
    assert answer.endswith("lie at a bound. `clip_low` did not vary here (n = 0).")


def test_what_was_fixed_is_said_not_to_have_been_measured(make: Make) -> None:
    study = make(30, seeds=0, space={"kl_weight": {"low": 0.005, "high": 0.5, "log": True}})
    answers = remedies(study, responses(study))
    assert answers[DROPOUT + "Not measured here"] == "`encoder_dropout` did not vary here (n = 0)."


def test_too_few_trials_are_said_to_be_too_few(make: Make) -> None:
    study = make(5, seeds=0)
    heading, prose = remedy_blocks(study, responses(study))
    assert isinstance(heading, Heading) and isinstance(prose, Prose)
    assert "takes 21 trials that were trained to their end and in which something varied; there are 5." in prose.text
