"""The confirmation: leading trials and baselines on fresh seeds, and the winner's look at the test split."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from optuna.trial import TrialState

from klsearch.search.confirmation.candidates import baselines, leading_trials
from klsearch.search.confirmation.contest import Contest, choose_winner
from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.confirmation.outlook import closing_ahead, stages
from klsearch.search.confirmation.source import ConfirmationSource, rows_to_show
from klsearch.search.layout import Layout
from klsearch.search.storage.facts import confirmation_digest
from klsearch.search.storage.records import closing_runs, confirmed_rows, trial_records
from klsearch.search.storage.rows import Row, Run, one_of_each, trial_number
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.forecast import Forecast, Stage
from klsearch.search.terminal.progress import Progress
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.models import weighting_of
from klsearch.search.training.retraining import RetrainingSource
from klsearch.search.training.trainer import Source
from klsearch.search.training.worker import Worker
from klsearch.studies.record import RunState
from klsearch.studies.verdict.words import count
from klsearch.vae.data.splits import SPLITS
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.evaluation.latent_map import LatentMap
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.evaluation.samples import Samples
from klsearch.vae.training.population import Population
from klsearch.vae.training.weighting import Weighting

FitProbe = Callable[[Mapping[str, np.ndarray]], Probe | None]
MapLatents = Callable[[Mapping[str, np.ndarray]], LatentMap]
TakeSamples = Callable[[Mapping[str, Members]], Samples | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationTools:
    """The functions that a confirmation needs and a search does not.

    Attributes:
        build_population: gives one that trains members by a rule of their own.
        take_samples: gives the report's pictures of members by label.
        fit_probe: gives a member's linear probe from its μ by split; None where the data have no labels for one.
        map_latents: gives the report's map of members' μ of the test split by label; None for none.
        ahead: what follows the confirmation, for the time left.
    """

    build_population: Callable[[Weighting], Population]
    take_samples: TakeSamples
    fit_probe: FitProbe | None
    map_latents: MapLatents | None = None
    ahead: Sequence[Stage] = ()


class Confirmer:
    """Confirms one study.

    Args:
        assignment: the study, with the population that searched it.
        tools: what it takes besides.
        members: keeps what was trained until the test split has scored it.
        worker: who trains.
        progress: is told what happens.
        forecast: is told what is still to be trained.
        train: trains what a source gives of the confirmation's rows in a population, compiled or not.
        pause: is called between trainings and measurements that may take long: others are to know that this one lives.
    """

    def __init__(
        self,
        assignment: Assignment,
        tools: ConfirmationTools,
        members: KeptMembers,
        *,
        worker: Worker,
        progress: Progress,
        forecast: Forecast,
        train: Callable[[Population, Source], None],
        pause: Callable[[], None],
    ) -> None:
        self._study = assignment.study
        self._definition = assignment.definition
        self._population = assignment.population
        self._tools = tools
        self._members = members
        self._worker = worker
        self._progress = progress
        self._forecast = forecast
        self._train_in = train
        self._pause = pause

    @cached_property
    def _rows(self) -> StudyStorage:
        return self._study.confirmation()

    def confirm(self) -> bool:
        """Confirm the study; False if another process took that over, because this one was silent for too long."""
        counted = self._study.counted_numbers()  # what others finish meanwhile is not confirmed
        trials = trial_records(self._study, self._definition)
        procedure = self._study.facts.procedure
        leaders, others = leading_trials(self._definition, trials, procedure), baselines(self._definition)
        if not leaders:
            self._progress.say("No trial has finished, so there is nothing to confirm.")
            return True
        contest = Contest.of(self._definition, procedure)
        race = leaders if len(leaders) > 1 or contest.race == contest.proof else []
        opening = [run for one in race for run in one.runs(contest.race)]
        opening += [run for one in others for run in one.runs(contest.opening)]
        settled = contest.race == contest.proof
        left = [] if settled else stages(self._definition, self._layout, [], beside=len(contest.proof))
        phase = "racing the leading trials" if race else "training the baselines"
        raced = self._train_runs(phase, opening, ahead=[*left, *self._closing_ahead(contest)])
        if raced is None:
            return False
        winner = leaders[0]
        if race:
            rows = [row for row in raced if row.run.seed in contest.race]
            label = choose_winner(self._definition, rows, [one.label for one in leaders])
            winner = next(one for one in leaders if one.label == label)
        staying = [
            one for one in others if contest.stays(self._definition, [r for r in raced if r.run.label == one.label])
        ]
        proof = [run for one in (winner, *staying) for run in one.runs(contest.proof)]
        closing = closing_runs(self._definition, winner.hyperparameters) if self._study.facts.ladder else []
        after = self._closing_ahead(contest)
        if self._train_runs("confirming on fresh seeds", proof, along=closing, ahead=after) is None:
            return False
        names = [one.label for one in others]
        self._score_on_test({winner.label, *names})
        finished = sum(trial.state in (RunState.COMPLETE, RunState.PRUNED) for trial in trials)
        self._study.change_facts(winner=trial_number(winner.label), confirmed_among=finished)
        self._keep_samples([winner.label, *names])
        if self._train_runs("drawing the winner's ladder", closing) is None:
            return False
        self._members.remove_files()
        digest = confirmation_digest(self._definition, counted)
        self._study.change_facts(confirmed_as=digest)
        return True

    @property
    def _layout(self) -> Layout:
        return self._study.facts.layout

    def _closing_ahead(self, contest: Contest) -> list[Stage]:
        ladder = closing_ahead(self._layout, proof=len(contest.proof), ladder=self._study.facts.ladder)
        return [*ladder, *self._tools.ahead]

    def _train_runs(
        self, phase: str, wanted: Sequence[Run], *, along: Sequence[Run] = (), ahead: Sequence[Stage] = ()
    ) -> list[Row] | None:
        """Train what is not trained yet, that of one rule after that of another; all of their rows.

        Slots that would idle in the last wave of those without a rule take what may be trained along.
        None if another process has taken some of them over.
        """
        by_rule: dict[Weighting | None, list[Run]] = {}
        for run in wanted:
            by_rule.setdefault(weighting_of(self._definition, run.method), []).append(run)
        sources = {
            rule: ConfirmationSource(
                self._rows,
                self._definition,
                group,
                worker=self._worker,
                keep=self._members.keep,
                tell=self._tell,
            )
            for rule, group in by_rule.items()
        }
        if None in sources:
            sources[None].train_along(along, self._population.slots)
        if remaining := sum(source.remaining for source in sources.values()):
            self._begin(phase, done=len(wanted) - remaining, total=len(wanted))
        waiting = [one for rule, source in sources.items() if source.remaining for one in by_rule[rule]]
        for rule, source in sources.items():
            if source.remaining:
                waiting = [run for run in waiting if run not in by_rule[rule]]
                self._train(rule, source, source.remaining, [*stages(self._definition, self._layout, waiting), *ahead])
        known = {row.run: row for row in one_of_each(self._rows.rows())}
        rows = [known[run] for run in wanted]
        return None if any(row.result is None and row.state is not TrialState.FAIL for row in rows) else rows

    def _tell(self, ended: None) -> None:
        self._forecast.count()
        self._progress.count(ended)

    def _train(self, rule: Weighting | None, source: Source, trainings: int, ahead: Sequence[Stage]) -> None:
        """Train what a source gives by a rule, so many; by the settings' KL weight if None. Others are ahead."""
        population = self._population if rule is None else self._tools.build_population(rule)
        self._forecast.begin(Stage(trainings=trainings, slots=population.slots), ahead)
        self._train_in(population, source)

    def _score_on_test(self, labels: Set[str]) -> None:
        """Measure the confirmed members of these candidates on the test split, those that it has not scored yet."""
        chosen = [row for row in confirmed_rows(self._study, self._definition) if row.run.label in labels]
        unscored = [row for row in chosen if row.result is not None and list(row.result.measures) == ["validation"]]
        if not unscored:
            return
        self._train_forgotten(unscored)
        self._progress.say("Scoring the winner and the baselines on the test split…")
        self._note_test_look(unscored)
        for first in range(0, len(unscored), self._population.slots):
            group = unscored[first : first + self._population.slots]
            of_group = [self._member(row) for row in group]
            if self._tools.fit_probe is not None:
                means = {split: self._population.latent_means(of_group, split) for split in SPLITS}
                for index, row in enumerate(group):
                    self._pause()
                    latents = {split: values[index] for split, values in means.items()}
                    self._rows.add_probe(row.number, self._tools.fit_probe(latents))
            self._pause()
            # These last: a row that has them is not looked at again.
            for row, measures in zip(group, self._population.measure_members(of_group, "test"), strict=True):
                self._rows.add_test_measures(row.number, measures)

    def _keep_samples(self, labels: Sequence[str]) -> None:
        """Keep what one member of each of these candidates makes of a few rows of data, for the report."""
        shown = rows_to_show(confirmed_rows(self._study, self._definition), labels)
        numbers = [row.number for row in shown]
        if not shown or self._rows.sampled_rows() == tuple(numbers):
            return
        self._train_forgotten(shown)
        self._pause()
        members = {row.run.label: self._member(row) for row in shown}
        samples, latent_map = self._tools.take_samples(members), None
        if self._tools.map_latents is not None:
            means = self._population.latent_means(list(members.values()), "test")
            latent_map = self._tools.map_latents(dict(zip(members, means, strict=True)))
        self._rows.replace_samples(samples, numbers, latent_map)

    def _begin(self, phase: str, *, done: int, total: int) -> None:
        self._progress.begin(phase, done=done, total=total, kl_unit=self._definition.thresholds().kl_unit)

    def _train_forgotten(self, wanted: Sequence[Row]) -> None:
        """Train those of some confirmed rows again whose members no process has kept."""
        forgotten = [row for row in wanted if self._members.find(row.run) is None]
        if forgotten:
            self._progress.say(f"Training {count(len(forgotten), 'model')} again, whose weights were lost.")
            self._begin("training again", done=0, total=len(forgotten))
        by_rule: dict[Weighting | None, list[Row]] = {}
        for row in forgotten:
            by_rule.setdefault(weighting_of(self._definition, row.run.method), []).append(row)
        for rule, group in by_rule.items():
            again = RetrainingSource(group, keep=self._members.keep, tell=self._tell)
            self._train(rule, again, len(group), self._tools.ahead)

    def _member(self, row: Row) -> Members:
        """A confirmed row's member, which is kept or was trained again."""
        member = self._members.find(row.run)
        assert member is not None
        return member

    def _note_test_look(self, rows: Sequence[Row]) -> None:
        """Count a look at the test split, before it is taken; one that was cut off and is taken again is the same."""
        facts, numbers = self._study.facts, {row.number for row in rows}
        if not numbers <= set(facts.looked_at):
            looks = (*facts.test_looks, datetime.now(UTC).isoformat(timespec="seconds"))
            self._study.change_facts(test_looks=looks, looked_at=tuple(sorted(numbers)))
