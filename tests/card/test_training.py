"""Training on a card is training on the processor: the same curves but for the noise of seeds, and the same promises.

Every test trains in processes of its own, on the processor and, where there is one, on a card.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from klsearch.vae.diagnostics.curves import CURVE_NAMES
from tests.card.trainings import Asked, Trained, train

pytestmark = pytest.mark.slow("trains in processes of their own")

Environment = Mapping[str, str]
EIGHT = {slot: 100 + slot for slot in range(8)}
COMPARED = ("validation_kl", "validation_reconstruction", "validation_unexplained", "kl", "reconstruction")


def column(trained: Trained, name: str) -> np.ndarray:
    """A curve of every member, [members, epochs]."""
    return np.stack([rows[:, CURVE_NAMES.index(name)] for _, rows in sorted(trained.curves.items())])


def assert_agree(here: Trained, there: Trained) -> None:
    """Means of eight seeds differ by at most three standard errors, at every epoch."""
    for name in COMPARED:
        ours, theirs = column(here, name), column(there, name)
        error = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / len(EIGHT))
        assert np.all(error > 0), "seeds do differ"
        assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 3 * error), name


@pytest.mark.parametrize(
    ("case", "rows", "epochs"),
    [
        ("digits", None, 8),
        pytest.param("clothes", None, 10, id="Fashion-MNIST", marks=pytest.mark.gpu),
        pytest.param("conv", None, 8, marks=pytest.mark.gpu),
    ],
)
def test_curves_agree_with_the_processor_s_within_the_noise_of_eight_seeds(
    device: Environment, processor: Environment, case: str, rows: int | None, epochs: int
) -> None:
    """The first epoch, before rounding has grown, differs by at most 2 % seed by seed."""
    together = 1 if case == "conv" else 8
    asked = Asked(case=case, rows=rows, epochs=epochs, seeds=EIGHT, layout=(8, together, False))
    (here,), (there,) = train(device, asked), train(processor, asked)
    assert there.device == "the processor"
    assert_agree(here, there)
    for name in COMPARED:
        np.testing.assert_allclose(column(here, name)[:, 0], column(there, name)[:, 0], rtol=0.02, err_msg=name)


def test_a_training_has_the_same_bits_in_every_process_slot_and_company(device: Environment) -> None:
    whole, half, pair = ((8, 8, False), (8, 4, False), (2, 2, False))
    (alone,) = train(device, Asked(seeds={0: 7}, layout=whole))
    for trained in train(
        device,
        Asked(seeds={0: 7}, layout=whole),
        Asked(seeds={**EIGHT, 5: 7}, layout=whole),
        Asked(seeds={**EIGHT, 6: 7}, layout=half),
        Asked(seeds={1: 7, 0: 8}, layout=pair),
    ):
        assert trained.curves[7].tobytes() == alone.curves[7].tobytes()


def test_steps_that_xla_compiles_train_as_well_within_the_noise_of_eight_seeds(device: Environment) -> None:
    """XLA draws other random numbers of the same seeds."""
    assert_agree(*train(device, *(Asked(seeds=EIGHT, layout=(8, 8, xla)) for xla in (False, True))))


def test_what_is_saved_goes_on_in_another_population_to_the_same_bits(device: Environment) -> None:
    """After the first step, in the middle of an epoch, and later."""
    stays = Asked(seeds={0: 7, 5: 8})
    moves = (replace(stays, handover=n, new_layout=(8, 4, False), new_slots={0: 6, 5: 1}) for n in (1, 3))
    whole, *moved = train(device, stays, *moves)
    for one in moved:
        assert {seed: rows.tobytes() for seed, rows in one.curves.items()} == {
            seed: rows.tobytes() for seed, rows in whole.curves.items()
        }


@pytest.mark.gpu
def test_a_card_is_named_with_whether_it_repeats_its_bits(card: Environment) -> None:
    (trained,) = train(card, Asked(seeds={0: 7}))
    assert trained.device.endswith(", deterministic")
