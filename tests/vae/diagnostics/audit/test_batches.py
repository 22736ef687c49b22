"""The last short batch."""

import numpy as np

from klsearch.vae.diagnostics.audit.batches import batch_findings, tell_validation
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, planted


def test_a_short_batch_that_counts_as_a_full_one_is_found() -> None:
    assert [f.code for f in batch_findings(Laboratory(planted("last_batch_unweighted"), ROWS))] == [
        "last_batch_unweighted"
    ]
    assert batch_findings(Laboratory(SOUND["Keras example"](), ROWS)) == []


def test_values_that_no_metric_keeps_are_told_be_they_those_of_the_last_batch_or_0() -> None:
    model = planted("validation without metrics")
    lab = Laboratory(model, ROWS)
    assert batch_findings(lab) == []
    assert " 0, where test_step gives " in str(tell_validation(lab))
    whole = model.test_step
    model.test_step = lambda data: {"error": whole(data)["reconstruction_loss"]}
    assert tell_validation(Laboratory(model, ROWS)) == (
        "the error of the last batch alone: no metric keeps what test_step gives"
    )
    assert tell_validation(Laboratory(SOUND["Keras example"](), ROWS)) is None


def test_a_largest_value_is_not_taken_for_that_of_the_last_batch() -> None:
    model = planted("validation without metrics")
    whole = model.test_step
    largest: list[float] = []

    def test_step(data: object) -> dict[str, object]:
        largest.append(float(whole(data)["reconstruction_loss"]))
        return {"largest": np.max(largest)}

    model.test_step = test_step
    evaluate = model.evaluate

    def evaluate_anew(*given: object, **named: object) -> object:
        largest.clear()
        return evaluate(*given, **named)

    model.evaluate = evaluate_anew
    lab = Laboratory(model, ROWS)
    assert (batch_findings(lab), tell_validation(lab)) == ([], None)
