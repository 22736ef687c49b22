"""The text that the command line prints for people."""

import math
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.visible import as_line, as_lines
from klsearch.reports.wording import NOTHING, number, setting
from klsearch.search.storage.leases import Activity
from klsearch.search.terminal.progress import banded, leading_training, left_words, rough_duration, watched_values
from klsearch.search.terminal.tables import table_lines
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.definitions.data import cautions
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.proposed import proposed_kl_weights, toml_value
from klsearch.studies.definitions.sections import METHOD_NAMES
from klsearch.studies.ladder import ladder_of
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.studies.summary import Summary, since_confirmed, summarize
from klsearch.studies.verdict.candidates import baseline_names, best_trial, runs_of
from klsearch.studies.verdict.words import count
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.data.proposals import are_binary
from klsearch.vae.evaluation.probe import PROBE_WORDS
from klsearch.vae.host.machine import free_memory
from klsearch.vae.hyperparameters import Hyperparameters, shown_names
from klsearch.vae.likelihoods.bernoulli import BERNOULLI

if TYPE_CHECKING:  # which loads TensorFlow
    from klsearch.search.commands.check import Estimate, OwnModel
    from klsearch.search.commands.export.winner import Exported
    from klsearch.search.running.reproduction import Reproduction
    from klsearch.vae.diagnostics.audit.audit import Audit
    from klsearch.vae.diagnostics.diagnosis import Diagnosis

_MOST_COLUMNS = 40  # of a table that `check` prints; `--json` has them all


def result_text(study: StudyRecord, *, report: Path | None, stopped: bool, width: int | None = None) -> str:
    """The end of a run: verdict, winner beside the baselines, how to go on if it is not whole, where the report is."""
    lines: list[str] = []
    done, budget = len(study.counted), study.definition.study.trials
    if stopped or done < budget:
        lines += ["", f"{done} of {budget} trials are done. Go on with: {study.resume_command}"]
    elif study.winner is not None:
        lines += ["", "Then:", *_then_lines(study)]
    if report is not None:
        lines += ["", f"Report: {report}"]
    return "\n".join([best_text(study, width=width), *map(as_line, lines)])


def _then_lines(study: StudyRecord) -> list[str]:
    """The commands that people give once a winner is proven; only to read on where it diverges."""
    commands = {f"{study.command('report')} --open": "read the report"}
    best, seeds = summarize(study).best, 2 * study.definition.confirmation.seeds
    if best is not None and not best.diverged:
        commands |= {
            study.export_command: "take the winner away as Keras models",
            f"{study.command('confirm')} --seeds {seeds}": "prove it on more seeds",
        }
    width = max(map(len, commands))
    return [f"  {command.ljust(width)}  # {purpose}" for command, purpose in commands.items()]


def best_text(study: StudyRecord, *, width: int | None = None) -> str:
    """The verdict, the winner's settings, and what it reaches beside the baselines."""
    summary = summarize(study)
    lines = [f"{summary.verdict.value.upper()}: {summary.why}", *_since_confirmed_lines(study)]
    what_next = [f"Next: {summary.next.words}", *(f"  {line}" for line in summary.next.code.splitlines())]
    if summary.best is None:
        return as_lines([lines[0], *what_next])
    lines += ["", *_settings_lines(summary, study), ""]
    lines += [*table_lines(_standing_rows(study, summary.best), width=width), ""]
    return as_lines([*lines, *_choice_lines(study), *what_next])


def _choice_lines(study: StudyRecord) -> list[str]:
    """Why the winner is not the trial that scored best, where it is not."""
    best = best_trial(study.trials)
    winner = next((trial for trial in study.trials if trial.number == study.winner), None)
    if best is None or winner is None or best is winner:
        return []
    scores = f"score {number(best.score)} against {number(winner.score)}"
    seeds = len({run.seed for run in study.race})
    raced = any(run.trial == best.number for run in study.race)
    if not seeds:
        why = "the winner was chosen on the seeds of the proof"
    elif raced:
        why = f"on the {seeds} seeds of the race trial {winner.number} was chosen, by gates passed, then by score"
    else:
        why = f"a model of all trials expects more of others, of which trial {winner.number} won on {seeds} seeds"
    return [f"Trial {best.number} was best in the search, on one seed ({scores}); {why}.", ""]


def _since_confirmed_lines(study: StudyRecord) -> list[str]:
    since = since_confirmed(study)
    return [] if since is None else [f"note: {since.sentence}"]


def _settings_lines(summary: Summary, study: StudyRecord) -> list[str]:
    best = summary.best
    assert best is not None
    lead = f"Trial {best.number}, {'the winner' if study.winner == best.number else 'the best so far'}"
    failed = ", ".join(gate.name for gate in best.gates if not gate.passed)
    lines = [f"{lead}{f' (in the search it failed: {failed})' if failed else ''}:"]
    return lines + [f"  {name} = {value}" for name, value in shown_settings(best.hyperparameters).items()]


def shown_settings(settings: Hyperparameters) -> dict[str, str]:
    """Settings in four significant digits, as TOML writes them; what is seldom used and off is left out."""
    values = {name: getattr(settings, name) for name in shown_names([settings])}
    return {name: f"{value:.4g}" if isinstance(value, float) else toml_value(value) for name, value in values.items()}


def _standing_rows(study: StudyRecord, best: TrialRecord) -> list[list[str]]:
    """A table of the winner beside the baselines; of the best trial alone before confirmation."""
    confirmed = runs_of(study, "winner")
    if not confirmed:
        header = ["on validation", _kl_header(study), "unexplained", "active latents"]
        active = f"{best.measures.active_units} of {best.measures.latent_dim}" if best.measures else NOTHING
        return [header, [f"trial {best.number}", number(kl_factor(study) * best.kl), number(best.unexplained), active]]
    split = "test" if any(run.test is not None for run in confirmed) else "validation"
    header = [f"median on the {split} split", _kl_header(study), "unexplained", "active latents", "seeds passed"]
    probed = {PROBE_WORDS[run.probe.measure] for run in confirmed if run.probe is not None}
    names = ("winner", *baseline_names(study))
    rows = {name: _candidate_row(study, name, with_probe=bool(probed)) for name in names}
    same = study.definition.same_baselines().items()
    missing = {name: other for name, other in same if other in rows and name not in rows}
    repeats = [[f"{name} (same as {other})", *rows[other][1:]] for name, other in missing.items()]
    table = [[*header, *probed], *rows.values(), *repeats]
    return [*table, *_linear_rows(study, split, len(table[0]))]


def _linear_rows(study: StudyRecord, split: str, cells: int) -> list[list[str]]:
    """What a PCA with as many components leaves unexplained; no row where it is not known."""
    linear = study.data.pca.get(split) if study.data is not None else None
    if linear is None:
        return []
    label = f"PCA, {study.definition.model.latent_dim} components"
    return [[label, NOTHING, number(linear), *[NOTHING] * (cells - 3)]]


def _kl_header(study: StudyRecord) -> str:
    return f"KL {kl_unit(study).removeprefix('nats ')}"


def _candidate_row(study: StudyRecord, name: str, *, with_probe: bool) -> list[str]:
    runs = runs_of(study, name)
    found = [measures for run in runs if (measures := run.test or run.measures) is not None]
    measured = [measures for measures in found if math.isfinite(measures.kl) and math.isfinite(measures.unexplained)]
    lost = len(runs) - len(measured)
    left_out = f" ({lost} of {len(runs)} diverged, left out)" if lost and measured else ""
    cells = ["diverged"] * 3
    if measured:
        cells = [
            number(kl_factor(study) * median(measures.kl for measures in measured)),
            number(median(measures.unexplained for measures in measured)),
            f"{median(measures.active_units for measures in measured):g} of {measured[0].latent_dim}",
        ]
    scores = [run.probe.test for run in runs if run.probe is not None]
    probe = [number(median(scores)) if scores else NOTHING] if with_probe else []
    return [f"{name}{left_out}", *cells, f"{_count_passed(runs)} of {len(runs)}", *probe]


def _count_passed(runs: tuple[ConfirmationRun, ...]) -> int:
    return sum(run.passed for run in runs)


def export_text(exported: "Exported") -> str:
    """The files that an export wrote, and the training they are of."""
    winner = "the winner" if exported.confirmed else "the best so far, not confirmed"
    seed = f"{'fresh ' if exported.fresh else 'its own '}seed {exported.seed}"
    same = "with the stored result bit for bit" if exported.matches else "but NOT with the stored result"
    lines = [
        f"Trial {exported.trial}, {winner}, trained again on {seed}, {same}: "
        f"KL {number(exported.kl)} nats per latent on the validation split, mean of the last "
        f"{count(exported.window, 'epoch')}.",
        *(f"  {exported.folder / name}" for name in exported.files),
        *(f"note: {note}." for note in exported.notes),
    ]
    return as_lines(lines)


def reproduction_text(reproduction: "Reproduction") -> str:
    """The result of training a trial again: whether it has the same bits, else what differs and has changed since."""
    lead = f"Trial {reproduction.trial}, trained again on its seed {reproduction.seed} for {reproduction.epochs} epochs"
    if reproduction.matches:
        return f"{lead}, matches bit for bit: every curve and every measure."
    lines = [f"{lead}, does not match:"]
    for differing in reproduction.mismatches:
        place = "" if differing.place is None else f" at {differing.place}"
        lines.append(
            f"  {differing.value}{place}: stored {_format_exact(differing.stored)}, now {_format_exact(differing.now)}"
        )
    if not reproduction.changed:
        return as_lines([*lines, "Versions and processor are those that the study recorded."])
    lines.append("Changed since then:")
    lines += [f"  {name}: {stored}, now {now}" for name, (stored, now) in reproduction.changed.items()]
    return as_lines(lines)


def _format_exact(value: Any) -> str:
    """A value to its last bit, in words where it is no finite number."""
    if not isinstance(value, float) or math.isfinite(value):
        return repr(value)
    return "no number" if math.isnan(value) else f"{'minus ' if value < 0 else ''}infinity"


def status_text(study: StudyRecord, activity: Activity) -> str:
    """The state of the study: counts, whether anything runs, the leading running trial's latest values, best so far."""
    summary = summarize(study)
    own = [trial for trial in study.trials if not trial.warm_start]
    words = {state: state.value for state in RunState}
    if not activity.is_worked_on:
        words[RunState.RUNNING] = "cut off"
    counts = ", ".join(
        f"{count} {word}" for state, word in words.items() if (count := sum(trial.state is state for trial in own))
    )
    lines = [
        f"{study.name}: {len(study.counted)} of {study.definition.study.trials} trials done ({counts or 'none yet'})",
        *_activity_lines(study, activity),
    ]
    if study.warm_start:
        lines.append(f"warm start: {study.warm_start}")
    if (ladder := ladder_of(study)) is not None:
        lines.append(ladder.sentence)
    running = {t.number: t.progress for t in study.trials if t.state is RunState.RUNNING and t.progress}
    if activity.is_worked_on and (ahead := leading_training(running)) is not None:
        values = banded(running, study.definition)[ahead]
        lines.append(f"running trial {ahead}: {watched_values(values, kl_unit(study))}")
    if summary.best is not None:
        best = summary.best
        kl = f"KL {number(kl_factor(study) * best.kl)} {kl_unit(study)}" if math.isfinite(best.kl) else "diverged"
        lead = "winner: trial" if study.winner == best.number else "best trial"
        lines.append(f"{lead} {best.number}: score {number(best.score)}, {kl}")
    if trainings := (*study.race, *study.confirmation):
        done = sum(run.state is RunState.COMPLETE for run in trainings)
        lines.append(f"confirmation: {done} of {len(trainings)} trainings done")
    lines += [summary.sentence, *_since_confirmed_lines(study)]
    return as_lines(lines)


def _activity_lines(study: StudyRecord, activity: Activity) -> list[str]:
    """Whether a process works on the study, for how long still; else what is unfinished and how to go on."""
    if activity.is_worked_on:
        return [] if activity.left is None else [left_words(activity.left)]
    missing = _unfinished_part(study)
    if not missing:
        return ["nothing runs: all is done"]
    return [f"nothing runs, and {missing} is unfinished. Go on with: {study.resume_command}"]


def _unfinished_part(study: StudyRecord) -> str:
    """What of a study is still to be done; empty where nothing is."""
    own = [trial for trial in study.trials if not trial.warm_start]
    if len(study.counted) < study.definition.study.trials or any(trial.state is RunState.RUNNING for trial in own):
        return "the search"
    return "" if study.is_confirmed or not study.definition.confirmation.seeds else "the proof"


def trials_text(study: StudyRecord, trials: Sequence[TrialRecord], *, width: int | None = None) -> str:
    """A table of some trials."""
    sampled = study.definition.space.sampled()
    header = ["trial", "state", "score", _kl_header(study), "unexplained", "gates failed", *sampled, "origin"]
    rows = [
        [
            str(trial.number),
            trial.state.value,
            number(trial.score),
            number(kl_factor(study) * trial.kl),
            number(trial.unexplained),
            ",".join(gate.name for gate in trial.gates if not gate.passed) or NOTHING,
            *(setting(name, getattr(trial.hyperparameters, name)) for name in sampled),
            trial.origin,
        ]
        for trial in trials
    ]
    left = len(study.trials) - len(trials)
    more = [f"{left} more {'trial is' if left == 1 else 'trials are'} not shown."] if left else []
    return as_lines([*table_lines([header, *rows], width=width), *more])


def diagnosis_text(diagnosis: "Diagnosis", definition: str) -> str:
    """What `diagnose` says of a history: the verdict, its reasons, what to do next, and the study of its settings."""
    reasons = [f"  {reason}" for reason in (*diagnosis.reasons, *diagnosis.unknowns)]
    search = "These settings are searched by klsearch run mine.toml, where mine.toml is:"
    lines = [f"  {line}" for line in definition.splitlines()]
    verdict = diagnosis.verdict.replace("_", " ").capitalize()
    return as_lines([verdict, *reasons, f"Next: {diagnosis.next}", search, *lines])


def audit_text(audit: "Audit", definition: str) -> str:
    """What `audit` finds of a model, a line a finding, then the facts and the definition that searches its settings."""
    findings = [f"{each.code}: {each.evidence} Remedy: {each.remedy}" for each in audit.findings]
    facts = [f"  {name} = {NOTHING if value is None else value}" for name, value in audit.facts.items()]
    search = ["Next: klsearch run mine.toml, where mine.toml is:", *(f"  {line}" for line in definition.splitlines())]
    found = findings or ["No finding: what is set has an effect."]
    if not definition:
        search = ["Next: name a function that gives the model alone, for a definition that searches its settings."]
    return as_lines([*found, "Facts:", *facts, *search])


def check_text(
    loaded: LoadedDefinition, dataset: Dataset, expected: "Estimate | None", *, own: "OwnModel | None" = None
) -> str:
    """The findings and expectations of `check`, for people; with what a model of their own was found to be."""
    definition = loaded.definition
    rows = ", ".join(f"{count:,} {split}" for split, count in dataset.rows.items())
    shape = "×".join(map(str, dataset.shape))
    lines = [
        f"{definition.study.name}: valid",
        f"data: {rows} rows of {shape} values; scaling: {dataset.scaling.words}",
        *_column_lines(dataset),
        *([] if own is None else [f"model: {definition.model.kind}, {own.weights:,} weights"]),
        *([] if own is None else [f"  {note}" for note in own.notes]),
        f"search: {definition.study.trials} trials over {', '.join(definition.space.sampled())}",
        f"baselines: {', '.join(map(partial(_baseline_words, definition), definition.baseline_names()))}",
        f"proposal: {_proposal(definition, dataset)}",
        _expected_line(loaded, expected),
        *(f"note: {note}" for note in (*dataset.notes, *definition.translations(dataset.shape))),
        *(f"warning: {caution}" for caution in cautions(definition, dataset)),
        *(f"warning: {caution}" for caution in (own.cautions if own is not None else ())),
        f"Next: klsearch run {shlex.quote(str(loaded.path or definition.study.name))}",
    ]
    return as_lines(lines)


def _proposal(definition: StudyDefinition, dataset: Dataset) -> str:
    weights = proposed_kl_weights(definition, dataset)
    told = f"kl_weight from {weights.low:g} to {weights.high:g}; {weights.reason}"
    soft = definition.model.likelihood == BERNOULLI.name and not are_binary(dataset.train)
    if not soft:
        return told
    return f"{told}; 'bernoulli' takes values between 0 and 1 for probabilities, so its error is never 0"


def _column_lines(dataset: Dataset) -> list[str]:
    """A table of what each column was taken for, in lines of at most 80 characters."""
    columns = (dataset.table or ())[:_MOST_COLUMNS]
    if not columns:
        return []
    width = min(max(len(column.name) for column in columns), 30)
    lines = [f"  {column.name[:width]:{width}}  {column.kind:11}  {', '.join(column.categories)}" for column in columns]
    more = len(dataset.table or ()) - len(columns)
    lines = [line.rstrip() if len(line) <= 80 else f"{line[:79]}…" for line in lines]
    return ["columns:", *lines, *([f"  and {more} more"] if more else [])]


def _baseline_words(definition: StudyDefinition, name: str) -> str:
    method = definition.baseline_method(name)
    return name if method is None else f"{name} ({METHOD_NAMES[method]})"


def _expected_line(loaded: LoadedDefinition, expected: "Estimate | None") -> str:
    """The time and memory that a study will take, as far as that can be told."""
    if expected is None:
        return (
            "time and memory: not known for a model of your own; `klsearch run` says how long it has left once "
            "models train"
        )
    memory = f"{expected.memory / 1e9:.1f} GB of memory"
    free = free_memory()
    short = f", but {free / 1e9:.1f} GB are free" if expected.memory > free else ""
    time = f"not estimated on {expected.device}"
    if expected.seconds is not None:
        time = f"about {rough_duration(expected.seconds)} on {expected.device} at the speed that it has now"
    on_card = "" if expected.card_memory is None else f", and {expected.card_memory / 1e9:.1f} GB of the card's"
    trainings = f"at most {expected.trainings} trainings of {loaded.definition.training.epochs} epochs"
    return f"time: {time}, for {trainings}; up to {memory}{short}{on_card}"
