"""`run_study` as a program of the user's own calls it."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from klsearch.search.run_study import run_study
from klsearch.search.running.options import RunOptions
from klsearch.search.storage.place import new_place
from klsearch.search.terminal.progress import EndedTraining
from klsearch.studies.definitions.catalog import load_definition, override
from klsearch.studies.record import ConfirmationRun, TrainingRun
from klsearch.vae.evaluation.samples import ImageSamples
from klsearch.vae.training.schedules import KlSchedule, kl_weight_at

pytestmark = pytest.mark.slow("searches whole studies")


class Interrupted:
    """Presses a notebook's stop button when the first trial has ended."""

    pressed = False

    def say(self, line: str) -> None: ...

    def begin(
        self, phase: str, *, done: int, total: int, best: EndedTraining | None = None, kl_unit: str = ""
    ) -> None: ...

    def count(self, ended: EndedTraining | None) -> None:
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt

    def watch(self, running: Mapping[int, Mapping[str, float]], left: float | None = None) -> None: ...


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_that_nobody_listens_for_reaches_the_caller_and_the_study_goes_on_later(
    definition_file: Path, tmp_path: Path, workers: int
) -> None:
    loaded = override(load_definition(str(definition_file)), trials=8)
    place, options = new_place("tiny", out=tmp_path / "run"), RunOptions(slots=4, confirm=False, workers=workers)
    with pytest.raises(KeyboardInterrupt):
        run_study(loaded, place, options, progress=Interrupted())
    assert not (place.folder / "report.html").exists()
    record = run_study(loaded, place, options)
    assert len(record.counted) == 8
    assert (place.folder / "report.html").exists()


def test_each_trial_rises_in_the_schedule_that_was_chosen_for_it_and_so_after_an_interruption(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    """The weight that a curve holds for an epoch is the mean over its four steps."""
    choice = 'kl_schedule = ["linear", "cosine", "cyclical"]\n\n[baselines.mine]'
    path = write(tmp_path, ("[baselines.mine]", choice), ("batch_size = 32", "batch_size = 32\ncycles = 2"))
    loaded = override(load_definition(str(path)), trials=14)
    place, options = new_place("tiny", out=tmp_path / "run"), RunOptions(slots=4, confirm=False)
    with pytest.raises(KeyboardInterrupt):
        run_study(loaded, place, options, progress=Interrupted())
    record = run_study(loaded, place, options, progress=False)
    steps = np.arange(12 * 4)
    for trial in record.trials:
        settings = trial.hyperparameters
        weights = kl_weight_at(
            steps,
            kl_weight=settings.kl_weight,
            annealing_epochs=settings.annealing_epochs,
            steps_per_epoch=4,
            schedule=KlSchedule(shape=str(settings.kl_schedule), cycles=2),
        )
        assert trial.curves is not None
        np.testing.assert_allclose(trial.curves.kl_weight, weights.reshape(12, 4).mean(axis=1), rtol=1e-5)
    found = {trial.hyperparameters.kl_schedule for trial in record.trials if trial.hyperparameters.annealing_epochs}
    assert found == {"linear", "cosine", "cyclical"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "linear, cosine, cyclical" in page and "Score by kl_schedule" in page


IMAGES = """\
[study]
name = "images"
trials = 4
kl_band = [0.0, 50.0]

[data]
source = "rows.npz"
labels = "kinds"
condition = ["dose"]
array = "images"

[model]
kind = "conv"
filters = [4]
hidden = [16]
latent_dim = 2
likelihood = "{likelihood}"

[training]
epochs = 6
batch_size = 32

[space]
kl_weight = {{ low = 1e-3, high = 1.0, log = true }}

[confirmation]
seeds = 2
top = 2

[gates]
window = 2
"""


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_study_of_bytes_is_to_the_bit_that_of_the_same_rows_in_float32(tmp_path: Path, likelihood: str) -> None:
    """Search, proof, test split, PCA, probe of the labels, pictures and latent map."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 240)
    light = np.linspace(0, 255, 8)[np.newaxis, :, np.newaxis] * (kinds[:, np.newaxis, np.newaxis] / 2)
    images = np.clip(light + rng.normal(scale=20, size=(240, 8, 6)), 0, 255).astype(np.uint8)
    dose = rng.integers(0, 3, 240)
    found = []
    for dtype in (np.uint8, np.float32):
        folder = tmp_path / np.dtype(dtype).name
        folder.mkdir()
        np.savez(folder / "rows.npz", images=images.astype(dtype), kinds=kinds, dose=dose)
        (folder / "images.toml").write_text(IMAGES.format(likelihood=likelihood))
        record = run_study(load_definition(str(folder / "images.toml")), new_place("images", out=folder / "run"))
        found.append(record)
    kept, wide = found
    assert kept.data is not None and wide.data is not None
    assert (kept.data.fingerprint, kept.data.pca) == (wide.data.fingerprint, wide.data.pca)
    assert kept.winner == wide.winner
    runs = [[*record.trials, *record.race, *record.confirmation, *record.closing] for record in found]
    assert len(runs[0]) == len(runs[1]) > 8
    for one, other in zip(*runs, strict=True):
        assert one.hyperparameters == other.hyperparameters
        assert left_by(one) == left_by(other)
    assert isinstance(kept.samples, ImageSamples) and isinstance(wide.samples, ImageSamples)
    for name in ("originals", "reconstructions", "unexplained", "prior_samples", "traversal"):
        assert np.array_equal(getattr(kept.samples, name), getattr(wide.samples, name)), name
    assert kept.latent_map is not None and wide.latent_map is not None
    assert np.array_equal(kept.latent_map.places, wide.latent_map.places)


def left_by(run: TrainingRun) -> list[object]:
    """What a training came to, to be compared bit for bit."""
    measured = [run.measures, run.test if isinstance(run, ConfirmationRun) else None]
    values = [np.asarray(getattr(one, name)).tobytes() for one in measured if one for name in one.__slots__]
    curves = run.curves.as_rows().tobytes() if run.curves is not None else b""
    return [*values, curves, run.kl, run.probe if isinstance(run, ConfirmationRun) else None]


BYTES = """\
[study]
name = "bytes"
trials = 2

[data]
source = "rows.npy"

[model]
kind = "dense"
hidden = [16]
latent_dim = 2
likelihood = "poisson"

[training]
epochs = 3

[space]
kl_weight = { low = 1e-3, high = 1.0, log = true }

[confirmation]
seeds = 0

[gates]
window = 2
"""


# The kernel's count of a process's whole life would begin with the memory of the one that started it.
RUN_AND_TELL_PEAK = """\
import sys
from pathlib import Path
from klsearch.search.cli import main
code = main(sys.argv[1:])
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_study_of_bytes_takes_less_memory_than_one_of_float32_by_more_than_a_copy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Of counts, beside which there is no PCA: that takes as much for either."""
    images = np.random.default_rng(0).integers(0, 256, (6000, 48, 48, 3), np.uint8)
    peaks = []
    for dtype in (np.uint8, np.float32):
        np.save(tmp_path / "rows.npy", images.astype(dtype))
        (tmp_path / "bytes.toml").write_text(BYTES)
        arguments = ["run", "bytes.toml", "--out", np.dtype(dtype).name, "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", RUN_AND_TELL_PEAK, *arguments],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        peaks.append(1024 * int(done.stdout.split()[-1]))
    small, large = peaks
    assert small < large - 4 * images.size, f"{small / 1e6:.0f} MB against {large / 1e6:.0f} MB"
