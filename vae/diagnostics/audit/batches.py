"""What validation reports: whether of all batches, and whether the last, shorter one counts by its rows."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_ROWS = 8
_SEEN = 0.01  # of a metric


def batch_findings(lab: Laboratory) -> list[Finding]:
    """Of eight equal rows and another one, in batches of eight, the ninth must count a ninth."""
    for name, first, second, both in _metrics(lab):
        weighted, unweighted = (_ROWS * first + second) / (_ROWS + 1), (first + second) / 2
        if abs(weighted - unweighted) > _SEEN * abs(weighted) and _is_nearer(both, unweighted, weighted):
            seen = f"evaluate gave {name} {first:.4g} for 8 rows, {second:.4g} for 1 and {both:.4g} for all 9"
            return [Finding("last_batch_unweighted", f"{seen}, in batches of 8; by rows it is {weighted:.4g}.")]
    return []


def tell_validation(lab: Laboratory) -> str | None:
    """What validation reports where `test_step` returns values that no metric keeps; None where one does.

    Keras then shows the last batch's, and 0 of a name that is also that of a metric of its own, such as its loss.
    """
    found, returned = list(_metrics(lab)), _returned(lab)
    for name, *values in found:
        if not any(values) and returned.get(name, 0.0) != 0:
            return f"{name} 0, where test_step gives {returned[name]:.4g}: no metric keeps it"
    last = {name for name, first, second, both in found if _is_seen(first, second) and _is_last(first, second, both)}
    if last:  # the other way round, too, unless it is a largest or least value
        last &= {name for name, *values in _metrics(lab, turned=True) if _is_last(*values)}
    return f"the {min(last)} of the last batch alone: no metric keeps what test_step gives" if last else None


def _metrics(lab: Laboratory, *, turned: bool = False) -> Iterator[tuple[str, float, float, float]]:
    """Each metric's name and its values for eight times the most ordinary row, for the oddest, and for all nine."""
    distances = np.sum((lab.rows - lab.rows.mean(axis=0)) ** 2, axis=tuple(range(1, lab.rows.ndim)))
    full, last = lab.rows[[int(np.argmin(distances))]], lab.rows[[int(np.argmax(distances))]]
    values = _evaluate_both(lab, last, full) if turned else _evaluate_both(lab, full, last)
    for name in values[2]:
        first, second, both = (each.get(name, np.nan) for each in values)
        yield name, first, second, both


def _returned(lab: Laboratory) -> dict[str, float]:
    """What `test_step` itself returns; empty if the model cannot validate."""
    with lab.experiment(), suppress(Exception):  # whatever a user's unfinished test_step raises
        lab.reseed()
        return {name: float(value) for name, value in lab.model.test_step(lab.batch()).items() if np.ndim(value) == 0}
    return {}


def _is_nearer(value: float, one: float, other: float) -> bool:
    return abs(value - one) < 0.25 * abs(value - other)


def _is_seen(first: float, second: float) -> bool:
    """Whether the value of nine rows differs from that of the ninth by more than chance."""
    weighted = (_ROWS * first + second) / (_ROWS + 1)
    return abs(weighted - second) > _SEEN * abs(weighted)


def _is_last(first: float, second: float, both: float) -> bool:
    """Whether the value of two batches is that of the second."""
    return abs(both - second) < _SEEN * abs(first - second)


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
