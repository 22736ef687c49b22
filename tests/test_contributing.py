"""What CONTRIBUTING.md says of a hyperparameter, a gate and a likelihood is done here to a copy of the package."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow("searches and confirms with a copy of the package")

ROOT = Path(__file__).parents[1]
ROOMS = ("vae", "studies", "reports", "search")
STUDY = """\
[study]
name = "tried"
trials = 3
sampler = "random"

[data]
source = "digits"
rows = 400

[model]
kind = "dense"
hidden = [16]
latent_dim = 3

[training]
epochs = 20
learning_rate = 1e-2

[space]
kl_weight = { low = 1e-3, high = 0.1, log = true }

[confirmation]
seeds = 2
top = 1

[gates]
window = 2
"""


class Checkout:
    """A copy of the package that may be edited, and what was edited in it."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "klsearch"
        self.edited: set[str] = set()
        shutil.copytree(ROOT / "src" / "klsearch", self.package, ignore=shutil.ignore_patterns(*ROOMS))
        for room in ROOMS:
            shutil.copytree(ROOT / room, self.package / room, ignore=shutil.ignore_patterns("__pycache__"))

    def insert(self, path: str, before: str, text: str) -> None:
        """Put text before a place that the file has once."""
        file = self.package / path
        found = file.read_text(encoding="utf-8")
        assert found.count(before) == 1, f"{path} no longer holds {before!r} once"
        file.write_text(found.replace(before, text + before), encoding="utf-8")
        self.edited.add(path)

    def create(self, path: str, text: str) -> None:
        """A new file."""
        (self.package / path).write_text(text, encoding="utf-8")
        self.edited.add(path)

    def python(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a program with the edited package."""
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(self.package.parent)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    def klsearch(self, *arguments: object) -> Any:
        """What a command prints as JSON, or nothing where it prints none; it must succeed."""
        done = self.python("from klsearch.search.cli import main; main()", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def search(self, toml: str) -> Path:
        """The run folder of a small study."""
        definition = self.package.parent / "tried.toml"
        definition.write_text(toml, encoding="utf-8")
        run = self.package.parent / "run"
        self.klsearch("run", definition, "--out", run)
        return run


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def named_files(title: str) -> set[str]:
    """The source files that a section of CONTRIBUTING.md tells to edit."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {title}\n(.*?)^## ", text, flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`([\w/.]+\.(?:py|j2|toml))`", section)
    return {path for path in named if not path.startswith("tests/")}


SAME_SEED = """
import json, sys
import numpy as np
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.networks.network import dense_network
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

rows = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
splits = {"train": rows, "validation": rows[:16]}
members = Population(dense_network((5,), 2, hidden=[8]), splits, Objective(), slots=3, batch_size=32)
for slot, penalty in enumerate((0.0, 0.0, 50.0)):
    members.start(slot, Hyperparameters(kl_weight=0.01, learning_rate=0.01, mean_penalty=penalty), seed=7)
for _ in range(30):
    members.advance()
size = [float(np.sum(m.kl_mean_part)) for m in members.measure(range(3), "validation")]
same = [all(np.array_equal(a, b) for a, b in zip(members.weights(0), members.weights(slot))) for slot in (1, 2)]
print(json.dumps({"size": size, "same": same}))
"""


def test_a_hyperparameter_that_is_declared_is_searched_with_effect_and_shown_everywhere(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.insert(
        "vae/hyperparameters.py",
        "\n    def __post_init__",
        "    mean_penalty: float = field(\n"
        '        default=0.0, metadata=_rule(meaning="strength of a penalty on the latent means", least=0)\n'
        "    )\n",
    )
    checkout.insert(
        "vae/training/shard.py",
        "        total += sum([*encoding.losses",
        '        total += step.settings["mean_penalty"] * tf.reduce_mean(tf.square(mean), axis=[1, 2])\n',
    )
    checkout.insert(
        "studies/template.toml", "# learning_rate = { low", "# mean_penalty = { low = 1e-3, high = 10.0, log = true }\n"
    )
    checkout.insert(
        "search/commands/export/vae_settings.py.j2",
        "        per_latent = kl_per_latent",
        "        penalty += MEAN_PENALTY * ops.mean(ops.square(z_mean))\n",
    )
    assert checkout.edited == named_files("Adding a hyperparameter")

    found = json.loads(checkout.python(SAME_SEED).stdout)
    assert found["same"] == [True, False]
    assert found["size"][2] < 0.5 * found["size"][0]

    toml = STUDY.replace("[space]", "[space]\nmean_penalty = { low = 0.001, high = 10.0, log = true }")
    toml = toml.replace("trials = 3", "trials = 12")  # a ladder and baselines come first
    run = checkout.search(toml.replace("[conf", "[baselines.mine]\nkl_weight = 0.1\nmean_penalty = 5.0\n\n[conf"))
    trials = checkout.klsearch("trials", run, "--json")["trials"]
    searched = [t["hyperparameters"]["mean_penalty"] for t in trials if t["origin"] == "search"]
    assert len(set(searched)) == len(searched) > 0
    assert all(0.001 <= value <= 10 for value in searched)
    assert [t["hyperparameters"]["mean_penalty"] for t in trials if t["origin"] == "mine"] == [5.0]
    assert "mean_penalty" in checkout.klsearch("trials", run, "--csv").splitlines()[0].split(",")
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Strength of a penalty on the latent means." in report
    best = checkout.klsearch("best", run, "--json")["hyperparameters"]["mean_penalty"]
    checkout.klsearch("export", run, tmp_path / "exported")
    assert f"\nMEAN_PENALTY = {best!r}  #" in (tmp_path / "exported" / "vae_settings.py").read_text(encoding="utf-8")
    assert f"mean_penalty = {best!r}" in (tmp_path / "exported" / "best.toml").read_text(encoding="utf-8")


def test_a_gate_that_is_declared_is_judged_searched_for_and_told(checkout: Checkout) -> None:
    checkout.insert(
        "vae/diagnostics/gates.py",
        "\n    def banded_kl",
        "    max_prior_mismatch: float = 0.5\n",
    )
    checkout.insert(
        "vae/diagnostics/gates.py",
        "\n\n@dataclass(frozen=True, slots=True, kw_only=True)\nclass GateRule",
        "    mismatch: float = math.nan\n",
    )
    checkout.insert(
        "vae/diagnostics/gates.py",
        ')\n"""Every gate, in the order',
        "    GateRule(\n"
        '        name="matched",\n'
        '        meaning="all rows together lie where the prior does",\n'
        '        missing=_always("far from the prior"),\n'
        "        constraint=True,\n"
        "        value=lambda ending: ending.mismatch,\n"
        '        threshold=lambda ending, thresholds: f"at most {thresholds.max_prior_mismatch:g} nats",\n'
        "        violation=lambda ending, thresholds: _excess(ending.mismatch, thresholds.max_prior_mismatch),\n"
        "    ),\n",
    )
    checkout.insert(
        "vae/diagnostics/gates.py",
        "        clip_share=measures.clip_share,",
        "        mismatch=float(np.mean(measures.prior_mismatch)),\n",
    )
    sections = (checkout.package / "studies/definitions/sections.py").read_text(encoding="utf-8")
    checkout.create(
        "studies/definitions/sections.py",
        f"{sections.rstrip()}\n    max_prior_mismatch: Annotated[float, Field(gt=0)] = 0.5\n",
    )
    assert checkout.edited == named_files("Adding a gate")

    run = checkout.search(f"{STUDY}max_prior_mismatch = 1e-9\n")
    trials = checkout.klsearch("trials", run, "--json")["trials"]
    assert {t["gates"]["matched"] for t in trials} == {False}
    assert not any(t["feasible"] for t in trials), "a constraint of the search"
    best = checkout.klsearch("best", run, "--json")
    assert best["gates"]["matched"] is False
    assert best["passed"] == 0
    header = checkout.klsearch("trials", run, "--csv").splitlines()[0]
    assert "matched" in header
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "far from the prior" in report
    assert "clipping, matched" in report, "the glossary lists the gates"


LAPLACE = '''\
"""A Laplace distribution of one scale, the same for every row and feature."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from klsearch.vae.likelihoods.likelihood import Likelihood

if TYPE_CHECKING:
    import tensorflow as tf


class Laplace(Likelihood):
    """L(x; output, b): the error is the absolute one."""

    name: ClassVar[str] = "laplace"
    error_name: ClassVar[str] = "absolute error"
    keras_error: ClassVar[str] = "ops.abs(rows - output)"
    output_name: ClassVar[str] = "the median itself"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """|x − output|."""
        import tensorflow as tf

        return tf.abs(output - rows)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The output itself."""
        del rows
        return output

    def distortion(self, errors: np.ndarray, *, features: int, train_errors: Callable[[], np.ndarray]) -> np.ndarray:
        """D · ln(2b) + absolute error / b, b the mean absolute error on training rows."""
        scale = train_errors() / features
        return np.asarray(features * np.log(2 * scale) + errors / scale)

    def output_activation(self, *, unit_interval: bool) -> str:
        """Unbounded."""
        del unit_interval
        return "linear"

    def misfit(self, splits: Iterable[np.ndarray], scaling: str) -> str | None:
        """Rows below -4 are refused, for the sake of this test."""
        del scaling
        return "needs values above -4; use 'gaussian'" if any(rows.min() < -4 for rows in splits) else None


LAPLACE = Laplace()
'''


def test_a_likelihood_that_is_declared_trains_scores_draws_and_exports(checkout: Checkout, tmp_path: Path) -> None:
    checkout.create("vae/likelihoods/laplace.py", LAPLACE)
    checkout.insert(
        "vae/likelihoods/catalog.py",
        "from klsearch.vae.likelihoods.likelihood",
        "from klsearch.vae.likelihoods.laplace import LAPLACE\n",
    )
    checkout.insert("vae/likelihoods/catalog.py", "GAUSSIAN, BERNOULLI, GAUSS", "LAPLACE, ")
    checkout.insert(
        "studies/template.toml", "\nreconstruction_reduction", '\n                             # or "laplace"'
    )
    assert {path.replace("laplace", "NAME") for path in checkout.edited} == named_files("Adding a likelihood")

    run = checkout.search(STUDY.replace("latent_dim", 'likelihood = "laplace"\nlatent_dim'))
    best = checkout.klsearch("best", run, "--json")
    assert 0 < best["unexplained"] < 1
    # The best scale b makes the distortion of training rows D · (ln 2b + 1). On validation it is near that: where b is
    # ten percent off there, it is more by D · 0.1² / 2.
    features, scale = 64, best["reconstruction"] / 64
    kl_sum = best["kl_sum"]
    expected = -(features * (math.log(2 * scale) + 1) + kl_sum)
    assert best["elbo"] == pytest.approx(expected, abs=features * 0.1**2 / 2)
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "absolute error, summed" in report
    assert "prior" in report and "data:image" in report, "samples of the decoder are drawn"
    exported = tmp_path / "exported"
    checkout.klsearch("export", run, exported)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np, vae_settings as v;"
        "print(float(v.reconstruction(np.array([[1.0, 2.0]], 'float32'), np.array([[0.5, 4.0]], 'float32'))))"
    )
    assert checkout.python(code, exported).stdout.split()[-1] == "2.5"
    assert 'likelihood = "laplace"' in (exported / "best.toml").read_text(encoding="utf-8")

    refused = checkout.python("from klsearch.search.cli import main; main()", "check", wrong(tmp_path, run))
    assert "model.likelihood = 'laplace' needs values above -4; use 'gaussian'" in refused.stderr


def wrong(folder: Path, run: Path) -> Path:
    """The study's definition with rows that its likelihood refuses."""
    (folder / "far.csv").write_text("a,b\n" + "".join(f"{-5.0 * row},{row}\n" for row in range(40)), encoding="utf-8")
    text = (run / "study.toml").read_text(encoding="utf-8")
    text = re.sub(r'source = "digits"\nrows = 400', 'source = "far.csv"\nscaling = "none"', text)
    (folder / "far.toml").write_text(text, encoding="utf-8")
    return folder / "far.toml"
