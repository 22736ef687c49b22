"""Whether the last, shorter batch counts in the validation metrics by its rows."""

from contextlib import suppress

import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_ROWS = 8


def batch_findings(lab: Laboratory) -> list[Finding]:
    """Of eight equal rows and another one, in batches of eight, the ninth must count a ninth."""
    distances = np.sum((lab.rows - lab.rows.mean(axis=0)) ** 2, axis=tuple(range(1, lab.rows.ndim)))
    equal = np.repeat(lab.rows[[int(np.argmin(distances))]], _ROWS, axis=0)
    other = lab.rows[[int(np.argmax(distances))]]
    values = [_evaluate(lab, rows) for rows in (equal, other, np.concatenate([equal, other]))]
    if any(value is None for value in values):
        return []
    for name in values[2] or {}:
        first, second, both = (float((value or {}).get(name, np.nan)) for value in values)
        weighted, unweighted = (_ROWS * first + second) / (_ROWS + 1), (first + second) / 2
        if abs(weighted - unweighted) > 0.01 * abs(weighted) and abs(both - unweighted) < 0.25 * abs(both - weighted):
            seen = f"evaluate gave {name} {first:.4g} for 8 rows, {second:.4g} for 1 and {both:.4g} for all 9"
            return [Finding("last_batch_unweighted", f"{seen}, in batches of 8; by rows it is {weighted:.4g}.")]
    return []


def _evaluate(lab: Laboratory, rows: np.ndarray) -> dict[str, float] | None:
    """The metrics of some rows; None if the model cannot be evaluated."""
    with lab.experiment(), suppress(Exception):  # whatever a user's unfinished test_step raises
        lab.hold_log_var(-20.0)
        lab.model.run_eagerly, lab.model.test_function = True, None
        targets = {"y": rows} if lab.takes_pairs else {}
        found = lab.model.evaluate(rows, **targets, batch_size=_ROWS, verbose=0, return_dict=True)
        return {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
    return None
