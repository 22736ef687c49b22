"""Plain records of what a study leaves in its storage: the only thing a report is made of."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.sections import METHOD_NAMES, Method
from klsearch.studies.procedure import Procedure
from klsearch.studies.ranking import Rank
from klsearch.vae.data.cautions import Caution
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, Gate
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.latent_map import LatentMap
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.evaluation.samples import Samples
from klsearch.vae.hyperparameters import Hyperparameters


class RunState(StrEnum):
    """The state of a training."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TrainingRun:
    """One training of one model: what a trial and a confirmation run have in common.

    One that was ended early has measures too, as they were then: what says "final" of them is not to be compared with
    a whole training's.

    Attributes:
        state: where it stands.
        hyperparameters: its settings, fixed ones included.
        seed: from which its initial weights, batch order and noise are drawn.
        curves: per-epoch measures; None until it has ended (a running trial's latest epoch is in its progress).
        measures: final measures on the validation split; None when running, diverged or failed.
        kl: final KL, mean over latents, nats, validation; NaN where there is none.
        kl_slope: relative slope of KL at the end, per epoch.
        score: what the search minimises; NaN while running or failed.
        gates: in the order of `vae.diagnostics.gates.GATE_NAMES`; empty while running or failed.
        seconds: its share of the population's wall time.
        error: why it failed; empty otherwise.
        started: when, UTC.
        ended: when, UTC; None while running.
    """

    state: RunState
    hyperparameters: Hyperparameters
    seed: int
    curves: TrainingCurves | None = None
    measures: Measures | None = None
    kl: float = math.nan
    kl_slope: float = math.nan
    score: float = math.nan
    gates: tuple[Gate, ...] = ()
    seconds: float = math.nan
    error: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    def _describe(self, name: str) -> str:
        """One line that stands for the record, whose curves would fill pages."""
        measured = "" if math.isnan(self.score) else f", score {self.score:.4g}, KL {self.kl:.4g} nats per latent"
        return f"<{type(self).__name__} {name}, seed {self.seed}: {self.state.value}{measured}>"

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return self.curves.epochs if self.curves is not None else 0

    @property
    def diverged(self) -> bool:
        """True if a step was not finite."""
        return self.curves is not None and self.curves.diverged

    @property
    def passed(self) -> bool:
        """True if it was trained to its end and every gate passed."""
        return self.state is RunState.COMPLETE and bool(self.gates) and all(gate.passed for gate in self.gates)

    @property
    def kl_sum(self) -> float:
        """Final KL summed over latents, nats: d · `kl`."""
        return self.kl * self.measures.latent_dim if self.measures is not None else math.nan

    @property
    def unexplained(self) -> float:
        """Final `unexplained` on the validation split."""
        return self.measures.unexplained if self.measures is not None else math.nan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TrialRecord(TrainingRun):
    """One trial of the search.

    Attributes:
        number: its place in the study, from 0.
        origin: "search", the name of the baseline whose settings it repeats, or "digits trial 12" of a warm start.
        warm_start: whether it was trained in an earlier study, and does not count to this one's budget.
        feasible: whether it meets every constraint gate.
        is_void: whether it failed because klsearch itself closed its row, before anything was trained.
        progress: a running trial's latest epoch by curve name, with "epoch" and "epochs"; empty otherwise.
    """

    number: int
    origin: str = "search"
    warm_start: bool = False
    feasible: bool = False
    is_void: bool = False
    progress: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self._describe(str(self.number))

    @property
    def rank(self) -> Rank:
        """Its place among the study's trials."""
        return Rank.of(
            complete=self.state is RunState.COMPLETE,
            violations={gate.name: gate.violation for gate in self.gates if gate.name in CONSTRAINT_GATES},
            score=self.score,
            number=self.number,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ConfirmationRun(TrainingRun):
    """One training of a leading trial or a baseline on a fresh seed.

    Attributes:
        candidate: "trial 37" for a leading trial, else the baseline's name.
        trial: the leading trial's number; None for a baseline.
        test: measures on the test split; only the winner and the baselines have them.
        probe: what a linear model reads off the latents; None where there are no labels, and as for `test`.
    """

    candidate: str
    trial: int | None = None
    test: Measures | None = None
    probe: Probe | None = None

    def __repr__(self) -> str:
        return self._describe(f"of {self.candidate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The data that the study was trained on.

    Attributes:
        rows: rows by split name ("train", "validation", "test").
        shape: shape of one row.
        scaling: how it was scaled, in words ("minmax over the training split").
        fingerprint: sha256 over the rows as trained, the split included.
        warnings: what the check of the data warned of, each with its code; those of an earlier release have none.
        notes: what was recognised in the source and done about it.
        pca: `unexplained` of a PCA with as many components as latents, fitted on the training rows, by split; empty in
            a study of an earlier release, and where the deviance is no squared error.
    """

    rows: Mapping[str, int]
    shape: tuple[int, ...]
    scaling: str
    fingerprint: str
    warnings: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()
    pca: Mapping[str, float] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """D, the number of features of a row."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The trainings from which a study took its band.

    Attributes:
        method: "sigma", or "beta1" where the likelihood leaves no variance to fit.
        seeds: on how many they were trained.
        kl: mean of their final KL, mean over latents, nats, validation.
        kl_band: lowest and highest acceptable KL, in the unit of the study's `kl_reduction`.
    """

    method: Method
    seeds: int
    kl: float
    kl_band: tuple[float, float]

    @property
    def words(self) -> str:
        """The reason why the band is where it is."""
        return (
            f"half to one and a half times the KL at which {METHOD_NAMES[self.method]} of this architecture ends, "
            f"{self.kl:.3g} nats per latent (mean of {self.seeds} seeds)"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StudyRecord:
    """A study as its storage holds it.

    Attributes:
        name: the study's name.
        definition: what was asked, settled: with the band that was found where it is "auto".
        definition_toml: the same as written, comments included.
        fingerprint: of all of the definition that makes results comparable.
        slots: K, the number of members trained together.
        lag: any K up to it takes the same course; 0 in a study whose course depends on K.
        trials: in ascending number.
        confirmation: in the order in which they were trained; empty until confirmed.
        race: of leading trials on the seeds that chose the winner, as ordered as those; empty where the seeds of the
            proof chose it, or one trial led alone.
        winner: number of the confirmed winner; None until confirmed.
        confirmed_among: how many trials had finished when it was last chosen; None where that is not known.
        is_confirmed: whether nothing of the confirmation of what is there now is left to do.
        data: what it was trained on; None before the first run loaded it.
        reference: what the band was taken from; None where the definition says it.
        procedure: how the winner is found and proven.
        samples: what the winner ("trial 37") and the baselines make of a few rows, as names of its models; None where
            that is not stored.
        latent_map: where a few rows lie in the latent spaces of the same models; None where that is not stored.
        provenance: versions, machine and commands by name, in display order.
        test_looks: how many times the test split was scored.
        warm_start: which trials of an earlier study it began with, in words; empty without.
        ladder: how many rungs its ladder of KL weights has; 0 without.
        scoring: what must be equal for the scores of two studies to be comparable.
        closing: the trainings of the same ladder at the winner's other settings; none before there is a winner.
        storage: the storage's URL without its password.
        resume_command: what continues this study.
        head: gives the head of its report as HTML, for notebooks; None where nothing does.
    """

    name: str
    definition: StudyDefinition
    definition_toml: str
    fingerprint: str
    slots: int
    lag: int = 0
    trials: tuple[TrialRecord, ...]
    confirmation: tuple[ConfirmationRun, ...] = ()
    race: tuple[ConfirmationRun, ...] = ()
    winner: int | None = None
    confirmed_among: int | None = None
    is_confirmed: bool = False
    data: DataFacts | None = None
    reference: Reference | None = None
    procedure: Procedure = Procedure.RACE
    samples: Samples | None = None
    latent_map: LatentMap | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    test_looks: int = 0
    warm_start: str = ""
    ladder: int = 0
    scoring: Mapping[str, int] = field(default_factory=dict)
    closing: tuple[ConfirmationRun, ...] = ()
    storage: str = ""
    resume_command: str = ""
    head: Callable[["StudyRecord"], str] | None = None

    def __repr__(self) -> str:
        finished, asked = len(self.counted), self.definition.study.trials
        winner = "not confirmed" if self.winner is None else f"winner: trial {self.winner}"
        return f"<StudyRecord {self.name!r}: {finished} of {asked} trials finished, {winner}>"

    def command(self, verb: str) -> str:
        """The command that does something with this study; empty where it is not known what continues it."""
        return self.resume_command.replace("klsearch resume", f"klsearch {verb}", 1)

    @property
    def export_command(self) -> str:
        """The command that takes its best trial away; where a storage is named, the study stands for a run folder."""
        if named := re.fullmatch(r"klsearch resume --storage (.+) --study (.+)", self.resume_command):
            return f"klsearch export {named[2]} best --storage {named[1]}"
        return f"{self.command('export')} best" if self.resume_command else ""

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return None if self.head is None else self.head(self)

    @property
    def finished(self) -> tuple[TrialRecord, ...]:
        """Trials that have a result: complete and pruned ones, those of a warm start too."""
        return tuple(t for t in self.trials if t.state in (RunState.COMPLETE, RunState.PRUNED))

    @property
    def complete(self) -> tuple[TrialRecord, ...]:
        """Finished trials that were not ended early: the only ones whose final measures may be compared."""
        return tuple(t for t in self.trials if t.state is RunState.COMPLETE)

    @property
    def confirmed(self) -> tuple[ConfirmationRun, ...]:
        """The finished runs of the confirmation."""
        return tuple(run for run in self.confirmation if run.state is RunState.COMPLETE)

    @property
    def counted(self) -> tuple[TrialRecord, ...]:
        """Finished trials that count to the budget: all but those of a warm start."""
        return tuple(t for t in self.finished if not t.warm_start)
