"""The studies that are timed, as klsearch and as a loop of plain Keras know them."""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from klsearch.studies.definitions.catalog import LoadedDefinition, load_definition, override
from klsearch.studies.definitions.data import load_data
from klsearch.vae.hyperparameters import AFTER, Hyperparameters

SPACE = """
[space]
kl_weight = { low = 1e-4, high = 1.0, log = true }
clip_low = { low = -20.0, high = -4.0 }
clip_high = { low = 0.0, high = 4.0 }
annealing_epochs = { low = 0, high = 5 }
l2 = { low = 1e-6, high = 1e-2, log = true }
encoder_dropout = { low = 0.0, high = 0.4 }
"""

_DIGITS = f"""
[study]
name = "bench-digits"
trials = 200
[data]
source = "digits"
[model]
kind = "dense"
hidden = [128, 64]
latent_dim = 8
[training]
epochs = 30
{SPACE}
"""

_CLOTHES = f"""
[study]
name = "bench-clothes"
trials = 20
[data]
source = "fashion-mnist"
rows = 16000
split = {{ validation = 0.125, test = 0.125 }}
[model]
kind = "dense"
hidden = [512, 256]
latent_dim = 16
[training]
epochs = 10
{SPACE}
"""

_CONV = f"""
[study]
name = "bench-conv"
trials = 40
[data]
source = "digits"
[model]
kind = "conv"
filters = [16, 32]
hidden = [64]
latent_dim = 8
[training]
epochs = 15
{SPACE}
"""

# Of `tests.benchmarks.proof`. The first release reads them too: no key that it does not know.
_PROVE_DIGITS = """
[study]
name = "proof-digits"
trials = 100
[data]
source = "digits"
[model]
kind = "dense"
hidden = [128, 64]
latent_dim = 8
[training]
epochs = 60
"""

_PROVE_CLOTHES = """
[study]
name = "proof-clothes"
trials = 30
[data]
source = "fashion-mnist"
rows = 6000
split = { validation = 0.125, test = 0.125 }
[model]
kind = "dense"
hidden = [256, 64]
latent_dim = 8
[training]
epochs = 15
"""

_PROVE_TABLE = """
[study]
name = "proof-table"
trials = 60
[data]
source = "table.csv"
labels = "target"
[model]
kind = "dense"
hidden = [64, 32]
latent_dim = 6
[training]
epochs = 60
batch_size = 32
"""

_PROVE_CONV = """
[study]
name = "proof-conv"
trials = 40
[data]
source = "digits"
[model]
kind = "conv"
filters = [16, 32]
hidden = [32]
latent_dim = 8
[training]
epochs = 20
batch_size = 32
learning_rate = 3e-3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One study to time.

    Attributes:
        toml: its definition.
        trials: budgets of the two whole runs; a further trial costs their difference.
        keras_trials: of the loop of plain Keras, the first of which is left out.
        keras_tuner: whether Keras Tuner is timed too.
    """

    toml: str
    trials: tuple[int, int]
    keras_trials: int
    keras_tuner: bool = True

    def write(self, folder: Path) -> Path:
        """The definition as a file."""
        path = folder / "study.toml"
        path.write_text(self.toml, encoding="utf-8")
        return path


CASES = {
    "digits": Case(toml=_DIGITS, trials=(200, 400), keras_trials=9),
    "clothes": Case(toml=_CLOTHES, trials=(20, 40), keras_trials=4),
    "conv": Case(toml=_CONV, trials=(40, 80), keras_trials=4, keras_tuner=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCase:
    """One study whose setting is to be proven.

    Attributes:
        toml: its definition, without a seed and a space.
        kl_weight: the upper end of its range.
        annealing: the upper end of the range of annealing epochs.
        slots: of the population that judges settings.
        together: how many of them train in one thread.
        reference: a setting that keeps KL in the band, found by hand on a few KL weights.
    """

    toml: str
    kl_weight: float = 1.0
    annealing: int
    slots: int
    together: int
    reference: Hyperparameters

    def write(self, folder: Path, seed: int, added: str = "") -> Path:
        """The definition as a file, of a study seed and with further lines in `[study]`; and a table beside it."""
        from sklearn.datasets import load_breast_cancer

        load_breast_cancer(as_frame=True).frame.to_csv(folder / "table.csv", index=False)
        space = SPACE.replace("high = 1.0", f"high = {self.kl_weight}").replace(
            "high = 5 ", f"high = {self.annealing} "
        )
        path = folder / "study.toml"
        toml = self.toml.replace("[study]", f"[study]\nseed = {seed}\n{added}") + space
        path.write_text(toml, encoding="utf-8")
        return path


def _reference(kl_weight: float, learning_rate: float = 1e-3) -> Hyperparameters:
    return replace(AFTER, kl_weight=kl_weight, annealing_epochs=3, learning_rate=learning_rate)


PROOFS = {
    # The built-in study.
    "digits": ProofCase(toml=_PROVE_DIGITS, annealing=20, slots=40, together=20, reference=_reference(0.02)),
    # Fashion-MNIST, 6,000 rows in all: 4,500 train, 750 validate, 750 test.
    "clothes": ProofCase(
        toml=_PROVE_CLOTHES, kl_weight=10.0, annealing=5, slots=8, together=4, reference=_reference(0.5)
    ),
    # Breast cancer, 569 rows of 30 columns: the largest table that scikit-learn ships.
    "table": ProofCase(toml=_PROVE_TABLE, annealing=20, slots=32, together=16, reference=_reference(0.2)),
    "conv": ProofCase(toml=_PROVE_CONV, annealing=5, slots=8, together=1, reference=_reference(0.03, 3e-3)),
}


def load(path: Path) -> tuple[LoadedDefinition, dict[str, np.ndarray]]:
    """A case's definition and its rows by split, as every contender gets them."""
    loaded = override(load_definition(str(path)))
    assert loaded.definition.model.likelihood == "gaussian"
    splits = load_data(loaded.definition, loaded.folder).splits
    return loaded, {name: rows[:] for name, rows in splits.items()}


def training_products(definition: LoadedDefinition, rows: int) -> float:
    """Floating-point operations in the matrix products that one trial of a dense study needs.

    Forward, and backward to weights and inputs; the first layer has no gradient towards its input.
    """
    model, training = definition.definition.model, definition.definition.training
    features = {"digits": 64}.get(definition.definition.data.source, 784)
    sizes = [features, *(model.hidden or ())]
    encoder = [*pairwise(sizes), (sizes[-1], 2 * model.latent_dim)]
    decoder = [(model.latent_dim, sizes[-1]), *zip(sizes[:0:-1], sizes[-2::-1], strict=True)]
    products = sum(a * b for a, b in [*encoder, *decoder])
    return 2.0 * (3 * products - sizes[0] * sizes[1]) * rows * training.epochs
