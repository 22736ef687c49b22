"""Random numbers that belong to a trial."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from klsearch.vae.networks import streams

SEEDS = st.integers(0, 2**63)
EPOCHS = st.integers(0, 10_000)


@given(seed=SEEDS, epoch=EPOCHS, rows=st.integers(1, 300))
def test_an_epoch_visits_every_row_once(seed: int, epoch: int, rows: int) -> None:
    order = streams.batch_order(seed, epoch, rows)
    assert order.dtype == np.int32
    assert sorted(order) == list(range(rows))


@given(seed=SEEDS, epoch=EPOCHS)
def test_the_order_depends_on_seed_and_epoch_alone(seed: int, epoch: int) -> None:
    order = streams.batch_order(seed, epoch, rows=100)
    np.testing.assert_array_equal(order, streams.batch_order(seed, epoch, rows=100))
    assert (order != streams.batch_order(seed + 1, epoch, rows=100)).any()
    assert (order != streams.batch_order(seed, epoch + 1, rows=100)).any()


@given(seed=SEEDS)
def test_the_streams_of_a_trial_differ_and_fit_into_an_int32(seed: int) -> None:
    keys = [streams.weights_key(seed), streams.noise_key(seed), *(streams.layer_key(seed, i) for i in range(4))]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**31 for key in keys)


def test_every_row_leads_an_epoch_about_equally_often() -> None:
    leaders = [streams.batch_order(seed=3, epoch=epoch, rows=8)[0] for epoch in range(4000)]
    # 500 expected of each; the standard deviation of a count is 21.
    assert all(400 < count < 600 for count in np.bincount(leaders, minlength=8))
