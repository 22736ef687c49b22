"""Kinds of models: what rows each takes."""

import pytest

from klsearch.vae.networks.kinds import KINDS


@pytest.mark.parametrize(
    ("kind", "fitting", "unfit"),
    [
        ("dense", [(3,), (8, 8), (8, 8, 3)], {}),
        ("conv", [(8, 8), (8, 8, 3)], {(3,): "needs images, but the data are a table; use 'dense'"}),
        (
            "conv1d",
            [(40,), (40, 2)],
            {(8, 8, 3): "needs series, [rows, length] or [rows, length, channels], but the data are images with chan"},
        ),
        ("recurrent", [(40,), (40, 2)], {(8, 8, 3): "needs series, "}),
    ],
)
def test_each_kind_says_which_rows_it_takes(
    kind: str, fitting: list[tuple[int, ...]], unfit: dict[tuple[int, ...], str]
) -> None:
    assert [KINDS[kind].misfit(shape) for shape in fitting] == [None] * len(fitting)
    for shape, reason in unfit.items():
        assert str(KINDS[kind].misfit(shape)).startswith(reason)
