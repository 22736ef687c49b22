"""Whether the last, shorter batch counts in the validation metrics by its rows."""

from contextlib import suppress

import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_ROWS = 8
_SEEN = 0.01  # of a metric


def batch_findings(lab: Laboratory) -> list[Finding]:
    """Of eight equal rows and another one, in batches of eight, the ninth must count a ninth."""
    distances = np.sum((lab.rows - lab.rows.mean(axis=0)) ** 2, axis=tuple(range(1, lab.rows.ndim)))
    near, far = lab.rows[[int(np.argmin(distances))]], lab.rows[[int(np.argmax(distances))]]
    one_way = _evaluate_both(lab, near, far)
    returned = _returned(lab)
    for name in one_way[2]:
        if all(each.get(name) == 0 for each in one_way) and returned.get(name, 0.0) != 0:
            seen = f"test_step gave {name} {returned[name]:.4g} and evaluate 0: it is that of a metric never updated"
            return [Finding("metrics_untracked", f"{seen}.")]
    for name in one_way[2]:
        first, second, both = (each.get(name, np.nan) for each in one_way)
        weighted, unweighted = (_ROWS * first + second) / (_ROWS + 1), (first + second) / 2
        seen = f"evaluate gave {name} {first:.4g} for 8 rows, {second:.4g} for 1 and {both:.4g} for all 9"
        if abs(weighted - unweighted) > _SEEN * abs(weighted) and _is_nearer(both, unweighted, weighted):
            return [Finding("last_batch_unweighted", f"{seen}, in batches of 8; by rows it is {weighted:.4g}.")]
        if abs(weighted - second) > _SEEN * abs(weighted) and _is_last(first, second, both):
            other_way = [each.get(name, np.nan) for each in _evaluate_both(lab, far, near)]
            if _is_last(*other_way):  # not so of a largest or least value
                return [Finding("metrics_untracked", f"{seen}, in batches of 8; by rows it is {weighted:.4g}.")]
    return []


def _returned(lab: Laboratory) -> dict[str, float]:
    """What `test_step` itself returns; empty if the model cannot validate."""
    with lab.experiment(), suppress(Exception):  # whatever a user's unfinished test_step raises
        lab.reseed()
        return {name: float(value) for name, value in lab.model.test_step(lab.batch()).items() if np.ndim(value) == 0}
    return {}


def _is_nearer(value: float, one: float, other: float) -> bool:
    return abs(value - one) < 0.25 * abs(value - other)


def _is_last(first: float, second: float, both: float) -> bool:
    """Whether the value of two batches is that of the second."""
    return abs(both - second) < 0.01 * abs(first - second)


def _evaluate_both(lab: Laboratory, full: np.ndarray, last: np.ndarray) -> tuple[dict[str, float], ...]:
    """The metrics of a batch of eight equal rows, of one row, and of both; empty if the model cannot be evaluated."""
    batch = np.repeat(full, _ROWS, axis=0)
    values = [_evaluate(lab, rows) for rows in (batch, last, np.concatenate([batch, last]))]
    return tuple({} if any(value is None for value in values) else value or {} for value in values)


def _evaluate(lab: Laboratory, rows: np.ndarray) -> dict[str, float] | None:
    """The metrics of some rows; None if the model cannot be evaluated."""
    with lab.experiment(), suppress(Exception):  # whatever a user's unfinished test_step raises
        lab.reseed()
        lab.hold_log_var(-20.0)
        lab.model.run_eagerly, lab.model.test_function = True, None
        targets = {"y": rows} if lab.takes_pairs else {}
        found = lab.model.evaluate(rows, **targets, batch_size=_ROWS, verbose=0, return_dict=True)
        return {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
    return None
