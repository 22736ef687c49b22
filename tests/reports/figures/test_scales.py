"""Axes that keep both a healthy and an exploding model readable."""

import numpy as np

from klsearch.reports.figures.scales import kl_scale, log_ticks, positive_scale


def test_numbers_of_one_size_get_a_linear_axis_from_zero() -> None:
    scale = positive_scale(np.array([0.2, 1.0, np.nan]))
    assert (scale.kind, scale.low) == ("linear", 0.0)
    assert scale.high > 1.0


def test_numbers_close_together_far_from_zero_do_not_start_there() -> None:
    scale = positive_scale(np.array([99.0, 100.0]))
    assert 98 < scale.low < 99


def test_positive_numbers_of_very_different_sizes_get_a_logarithmic_axis() -> None:
    scale = positive_scale(np.array([1e-3, 1e3]))
    assert scale.kind == "log"
    assert scale.low < 1e-3 < 1e3 < scale.high


def test_a_zero_keeps_an_axis_linear() -> None:
    assert positive_scale(np.array([0.0, 1e3])).kind == "linear"


def test_equal_numbers_and_no_numbers_still_make_an_axis() -> None:
    for values in ([5.0, 5.0], [0.0], [], [np.nan]):
        scale = positive_scale(np.array(values))
        assert scale.low < scale.high


def test_a_kl_near_its_band_is_linear_and_shows_the_whole_band() -> None:
    scale = kl_scale(np.array([0.1, 2.0]), (0.0, 5.0))
    assert scale.kind == "linear"
    assert scale.low == 0.0
    assert scale.high > 5.0


def test_an_exploding_kl_is_linear_within_the_band_and_logarithmic_beyond() -> None:
    scale = kl_scale(np.array([2.0, 3000.0, np.inf]), (0.0, 5.0))
    assert (scale.kind, scale.linear_to) == ("symlog", 5.0)
    assert scale.ticks == (0.0, 5.0, 10.0, 100.0, 1000.0)


def test_ticks_are_never_more_than_seven() -> None:
    for high in np.geomspace(2, 1e12, 40):
        assert 1 <= len(log_ticks(1.0, float(high))) <= 7
