"""The last short batch."""

import numpy as np

from klsearch.vae.diagnostics.audit.batches import batch_findings
from klsearch.vae.diagnostics.audit.laboratory import Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, SOUND, planted


def test_a_short_batch_that_counts_as_a_full_one_is_found() -> None:
    assert [f.code for f in batch_findings(Laboratory(planted("last_batch_unweighted"), ROWS))] == [
        "last_batch_unweighted"
    ]
    assert batch_findings(Laboratory(SOUND["Keras example"](), ROWS)) == []


def test_values_that_no_metric_keeps_are_found_be_they_those_of_the_last_batch_or_0() -> None:
    model = planted("metrics_untracked")
    (finding,) = batch_findings(Laboratory(model, ROWS))
    assert (finding.code, "and evaluate 0: " in finding.evidence) == ("metrics_untracked", True)
    whole = model.test_step
    model.test_step = lambda data: {"error": whole(data)["reconstruction_loss"]}
    (finding,) = batch_findings(Laboratory(model, ROWS))
    assert finding.code == "metrics_untracked"
    assert finding.evidence.startswith("evaluate gave error ")


def test_a_largest_value_is_not_taken_for_that_of_the_last_batch() -> None:
    model = planted("metrics_untracked")
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
    assert batch_findings(Laboratory(model, ROWS)) == []
