"""Callbacks that are called as `fit` calls them."""

from collections.abc import Callable
from typing import Any

import keras
import pytest

from klsearch.vae.diagnostics.audit.audit import audit_model
from klsearch.vae.diagnostics.audit.fits import play_fit
from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory
from tests.vae.diagnostics.audit.styles import ROWS, variant


def annealing(hook: str, weight: Callable[[int], float]) -> keras.callbacks.Callback:
    """A callback that sets the KL weight in one of its hooks, from how often it was called."""

    def act(self: Any, *_: Any) -> None:
        self.model.kl_weight.assign(weight(self.calls))
        self.calls += 1

    callback = type("Anneal", (keras.callbacks.Callback,), {hook: act})()
    callback.calls = 0
    return callback


HOOKS = ("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_acts_in_whichever_hook_it_sets_the_weight(hook: str) -> None:
    callback = annealing(hook, lambda calls: min(0.8, calls / 10))
    model = variant("")
    lab = Laboratory(model, ROWS, (callback,))
    moments = play_fit(lab)
    assert max(moment.strength for moment in moments) == pytest.approx(0.8, rel=1e-3)
    assert (callback.calls, float(model.kl_weight.numpy())) == (0, 0.5), "all is put back"


@pytest.mark.slow("two whole audits, each with a fit of callbacks")
def test_a_cycle_is_told_from_a_callback_that_writes_to_another_attribute() -> None:
    cycle = annealing("on_epoch_begin", lambda calls: (calls % 11) / 10)
    found = audit_model(variant(""), ROWS, (cycle,))
    assert found.findings == ()
    assert found.facts["kl_pull"] == pytest.approx(1.0, rel=1e-3), "its largest"
    model = variant("")
    model.kl_weight.assign(0.0)
    lost = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(model, "kl_wait", epoch / 10))
    (finding,) = audit_model(model, ROWS, (lost,)).findings
    assert finding.code == "annealing_inactive"
    assert "was 0 at 8 steps from 0 to 10^7 and at 28 moments of a fit" in finding.evidence
    assert not hasattr(model, "kl_wait")


def test_what_a_callback_prepares_when_training_begins_is_there() -> None:
    callback = annealing("on_epoch_begin", lambda calls: min(1.0, calls / 10))
    type(callback).on_train_begin = lambda self, logs: setattr(self, "top", 1.0)
    act = type(callback).on_epoch_begin
    type(callback).on_epoch_begin = lambda self, epoch, logs: self.top and act(self)
    assert max(moment.strength for moment in play_fit(Laboratory(variant(""), ROWS, (callback,)))) == pytest.approx(1.0)


def test_logs_have_the_steps_metrics_and_schedules_may_be_shorter_than_the_fit() -> None:
    model = variant("")
    schedule = [0.1, 0.2, 0.4]
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.kl_weight.assign(schedule[epoch]),
        on_epoch_end=lambda epoch, logs: seen.append(logs["val_kl_loss"]),
    )
    strengths = [moment.strength for moment in play_fit(Laboratory(model, ROWS, (callback,)))]
    assert [round(each, 3) for each in dict.fromkeys(strengths)] == schedule
    assert len(seen) == 3


def test_keras_callbacks_are_left_alone_for_they_set_no_weight(tmp_path: Any) -> None:
    callbacks = (keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.EarlyStopping("loss"))
    assert play_fit(Laboratory(variant(""), ROWS, callbacks)) == []
    assert not list(tmp_path.iterdir())


def test_an_error_of_a_callback_is_told_as_its_own_with_its_line() -> None:
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: logs["beta"])
    with pytest.raises(
        AuditProblem, match=r"^the callback LambdaCallback failed in on_epoch_begin\(0\): KeyError"
    ) as e:
        play_fit(Laboratory(variant(""), ROWS, (callback,)))
    assert "test_fits.py:" in str(e.value)


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(AuditProblem, match="one is of type float"):
        Laboratory(variant(""), ROWS, (0.5,))


def test_a_fit_is_played_with_an_optimizer_that_gathers_batches() -> None:
    model = variant("")
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=4))
    seen: list[Any] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: seen.append(model.optimizer.iterations))
    play_fit(Laboratory(model, ROWS, (callback,)))
    assert int(seen[2]) == 50 * 2 // 4 - 1, "the last batch of the epoch before"
