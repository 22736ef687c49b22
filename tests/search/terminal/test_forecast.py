"""The time left, on a clock that the tests set."""

from collections.abc import Mapping

import pytest

from klsearch.search.terminal.forecast import REPORT, Forecast, Stage


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


EPOCHS = 10


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forecast(clock: Clock) -> Forecast:
    return Forecast(EPOCHS, clock=clock)


def at(epoch: int, *numbers: int) -> Mapping[int, Mapping[str, float]]:
    return {number: {"epoch": epoch, "epochs": EPOCHS} for number in numbers}


def train(forecast: Forecast, clock: Clock, *numbers: int, epochs: int = EPOCHS, seconds: float = 2.0) -> None:
    """Epochs of some trainings, one after another in as many seconds each; those that have ended are counted."""
    for epoch in range(1, epochs + 1):
        clock.now += seconds
        forecast.watch(at(epoch, *numbers))
    if epochs == EPOCHS:
        for _ in numbers:
            forecast.count()
        forecast.watch({})


def test_before_the_first_epoch_nothing_is_known_and_from_then_on_something_is(
    forecast: Forecast, clock: Clock
) -> None:
    forecast.begin(Stage(trainings=4, slots=2))
    assert forecast.left() is None
    clock.now += 5.0
    forecast.watch(at(0, 0, 1))
    assert forecast.left() is None, "the first epoch is under way"
    forecast.watch(at(1, 0, 1))
    assert forecast.left() == pytest.approx((20 - 1) * 5.0)


@pytest.mark.parametrize(("trainings", "slots", "waves"), [(4, 2, 2), (5, 2, 3), (1, 4, 1), (100, 20, 5), (101, 20, 6)])
def test_a_wave_takes_as_long_as_a_full_one_however_few_its_trainings(
    forecast: Forecast, clock: Clock, trainings: int, slots: int, waves: int
) -> None:
    forecast.begin(Stage(trainings=trainings, slots=slots))
    train(forecast, clock, *range(min(slots, trainings)), epochs=1)
    assert forecast.left() == pytest.approx((waves * EPOCHS - 1) * 2.0)


def test_a_slot_that_is_free_earlier_takes_the_next_training_earlier(forecast: Forecast, clock: Clock) -> None:
    """Two trainings have 2 and 7 epochs left; of two that wait, one begins after 2 and one after 7: 17 in all."""
    forecast.begin(Stage(trainings=4, slots=2))
    forecast.watch({0: at(7, 0)[0], 1: at(2, 1)[1]})
    clock.now += 3.0
    forecast.watch({0: at(8, 0)[0], 1: at(3, 1)[1]})
    assert forecast.left() == pytest.approx(17 * 3.0 / 2), "two epochs were seen in three seconds"


def test_what_follows_counts_in_proportion_to_its_slots_with_what_compiling_took(
    forecast: Forecast, clock: Clock
) -> None:
    ahead = [Stage(trainings=9, slots=4), Stage(trainings=3, slots=2, compiles=True), REPORT]
    clock.now += 7.0
    forecast.compiled(7.0)
    forecast.begin(Stage(trainings=4, slots=4), ahead)
    train(forecast, clock, 0, 1, 2, 3)
    assert forecast.left() == pytest.approx(3 * EPOCHS * 2.0 + (2 * EPOCHS * 1.0 + 7.0) + 7.0)
    forecast.begin(Stage(trainings=9, slots=4), ahead[1:])
    assert forecast.left() == pytest.approx(3 * EPOCHS * 2.0 + 27.0 + 7.0), "before its first epoch by the pace before"


def test_compiling_once_more_is_worth_it_while_the_stage_lasts_several_times_as_long(
    forecast: Forecast, clock: Clock
) -> None:
    forecast.compiled(7.0)
    forecast.begin(Stage(trainings=8, slots=2), [Stage(trainings=100, slots=2)])
    assert not forecast.outlasts_compiling(), "nothing is known yet"
    train(forecast, clock, 0, 1)
    assert forecast.outlasts_compiling(), "60 seconds for trials 2 to 7"
    train(forecast, clock, 2, 3)
    assert forecast.outlasts_compiling(), "40 seconds"
    train(forecast, clock, 4, 5)
    assert not forecast.outlasts_compiling(), "20 seconds, whatever follows"


def test_what_comes_before_the_first_epoch_is_no_part_of_the_pace(forecast: Forecast, clock: Clock) -> None:
    forecast.begin(Stage(trainings=2, slots=1))
    clock.now += 30.0
    forecast.start()
    train(forecast, clock, 0)
    assert forecast.left() == pytest.approx(EPOCHS * 2.0)


def test_pauses_between_trainings_are_part_of_the_pace(forecast: Forecast, clock: Clock) -> None:
    forecast.begin(Stage(trainings=3, slots=1))
    train(forecast, clock, 0)
    clock.now += 4.0
    train(forecast, clock, 1)
    assert forecast.left() == pytest.approx(EPOCHS * 44.0 / 20)


def test_a_machine_that_has_become_slow_is_noticed(forecast: Forecast, clock: Clock) -> None:
    forecast.begin(Stage(trainings=60, slots=1))
    for number in range(20):
        train(forecast, clock, number, seconds=1.0)
    for number in range(20, 40):
        train(forecast, clock, number, seconds=3.0)
    assert forecast.left() == pytest.approx(20 * EPOCHS * 3.0, rel=0.05)


def test_trainings_that_are_ended_early_make_the_others_expected_shorter(forecast: Forecast, clock: Clock) -> None:
    forecast.begin(Stage(trainings=4, slots=1))
    for number in range(2):
        train(forecast, clock, number, epochs=5)
        forecast.count()
        forecast.watch({})
    assert forecast.left() == pytest.approx(2 * 5 * 2.0)


def test_a_search_that_ends_sooner_or_later_than_expected_changes_what_is_left(
    forecast: Forecast, clock: Clock
) -> None:
    forecast.begin(Stage(trainings=35, slots=1))
    train(forecast, clock, 0)
    for expected in (4, 0):
        forecast.expect(expected)
        assert forecast.left() == pytest.approx(expected * EPOCHS * 2.0)


def test_a_resumed_training_is_not_taken_for_one_of_this_process(forecast: Forecast, clock: Clock) -> None:
    """It was at epoch 6 when it was first seen."""
    forecast.begin(Stage(trainings=1, slots=1))
    clock.now += 2.0
    forecast.watch(at(6, 0))
    clock.now += 2.0
    forecast.watch(at(7, 0))
    assert forecast.left() == pytest.approx(3 * 2.0)


def test_others_slots_are_seen_now_and_then_and_by_what_has_ended(forecast: Forecast, clock: Clock) -> None:
    """Two workers of two slots: eight trainings in four slots take two waves."""
    forecast.begin(Stage(trainings=8, slots=4))
    clock.now += 10.0
    forecast.look(at(5, 0, 2))  # of each worker the trial that is farthest on
    assert forecast.left() == pytest.approx(20 * 2.0), "nothing is known of the two other slots"
    clock.now += 10.0
    for _ in range(4):
        forecast.count()
    forecast.look({})
    assert forecast.left() == pytest.approx(10 * 2.0)


def test_very_many_trainings_are_not_packed_one_by_one(forecast: Forecast, clock: Clock) -> None:
    forecast.begin(Stage(trainings=100_000, slots=10))
    train(forecast, clock, *range(10), epochs=1)
    assert forecast.left() == pytest.approx(100_000 / 10 * EPOCHS * 2.0, rel=1e-3)
