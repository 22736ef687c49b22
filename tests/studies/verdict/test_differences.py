"""Differences over seeds; `tests/studies/test_summary.py` holds their intervals against SciPy's."""

from klsearch.studies.verdict.differences import Difference


def test_who_diverged_more_often_is_never_called_the_lower_one() -> None:
    lower = Difference(mean=-1.0, low=-2.0, high=-0.5, pairs=5, left_out=(2, 1))
    assert not lower.first_less
    assert Difference(mean=-1.0, low=-2.0, high=-0.5, pairs=5, left_out=(1, 1)).first_less
