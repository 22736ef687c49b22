"""The definition of a study: the checked content of its TOML file, and what follows from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any, Self

from pydantic import Field, model_validator

from klsearch.studies.definitions.sections import (
    Baseline,
    ConfirmationSection,
    DataSection,
    GatesSection,
    Method,
    ModelSection,
    StudySection,
    TrainingSection,
)
from klsearch.studies.definitions.space import Section, Space, highest_of, problems_at
from klsearch.vae.data.cautions import Caution
from klsearch.vae.diagnostics.gates import MIN_CONFIRMATION_SEEDS, MIN_FINISHED_TRIALS, GateThresholds
from klsearch.vae.hyperparameters import AFTER, BEFORE, WHOLE, Hyperparameters
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.networks.workload import DEFAULT_CELL
from klsearch.vae.objective import Objective
from klsearch.vae.training.schedules import LINEAR, KlSchedule

_Found = list[tuple[tuple[str, ...], str]]

# What the records and reports call something else.
_RESERVED_NAMES = ("winner", "search", "ladder")
_RECIPE = {"before": BEFORE, "after": AFTER}


class StudyDefinition(Section):
    """A study as its TOML file defines it.

    `studies.definitions.catalog.load_definition` reads one and names every error with its line.
    """

    study: StudySection
    data: DataSection
    model: ModelSection
    training: TrainingSection
    space: Space
    baselines: dict[str, Baseline] = Field(default_factory=dict)
    confirmation: ConfirmationSection = ConfirmationSection()
    gates: GatesSection = GatesSection()

    @model_validator(mode="after")
    def _check_sections(self) -> Self:
        found = [
            *self._annealing_problems(),
            *self._cycle_problems(),
            *self._test_split_problems(),
            *self._baseline_problems(),
        ]
        if found:
            raise problems_at("definition", found)
        return self

    def _annealing_problems(self) -> _Found:
        longest = int(highest_of(self.space.annealing_epochs))
        epochs, window = self.training.epochs, self.gates.window
        if longest <= max(0, epochs - window):
            return []
        text = (
            f"reaches {longest}, but training lasts {epochs} epochs and the last {window} (gates.window) need the full "
            f"KL weight; lower it to {max(0, epochs - window)} or train at least {longest + window} epochs"
        )
        return [(("space", "annealing_epochs"), text)]

    def _cycle_problems(self) -> _Found:
        shapes = {
            self.training.kl_schedule,
            *(self.space.kl_schedule or ()),
            *(baseline.kl_schedule for baseline in self.baselines.values()),
        }
        if "cyclical" in shapes:
            return []
        text = f"has no effect on kl_schedule = '{self.training.kl_schedule}'; remove it, or use 'cyclical'"
        given = [name for name in ("cycles", "ramp_share") if getattr(self.training, name) is not None]
        return [(("training", name), text) for name in given]

    def _test_split_problems(self) -> _Found:
        if self.data.split_column is not None or self.data.split.test > 0 or self.confirmation.seeds == 0:
            return []
        text = "must be above 0, because the winner is scored on it; or set confirmation.seeds = 0 to confirm nothing"
        return [(("data", "split", "test"), text)]

    def _baseline_problems(self) -> _Found:
        found: _Found = []
        for name, baseline in self.baselines.items():
            settings = self._baseline_settings(name)
            if baseline.method is not None and name in _RECIPE:
                text = "has no meaning here, as the name stands for the recipe's settings; choose another name"
                found.append((("baselines", name, "method"), text))
            if baseline.method == "sigma" and not self.objective().likelihood.fits_variance:
                text = (
                    "'sigma' fits the variance of a Gaussian decoder, but model.likelihood is "
                    f"'{self.model.likelihood}'; use 'beta1' or 'control'"
                )
                found.append((("baselines", name, "method"), text))
            if name in _RESERVED_NAMES or name.startswith("trial ") or not name.strip():
                found.append((("baselines", name), "is a name with a meaning of its own; choose another"))
            if baseline.own_loss() is not None and name in _RECIPE:
                text = "the recipe's settings are in the terms of the study; give a baseline of your own these keys"
                found.append((("baselines", name), text))
            told = baseline.settings() or baseline.method is not None or baseline.own_loss() is not None
            if not told and name not in _RECIPE:
                found.append((("baselines", name), "has no settings; give its kl_weight at least"))
            if settings["clip_low"] >= settings["clip_high"]:
                found.append(_crossing_bounds(name, baseline, settings))
        return found

    def cautions(self) -> list[Caution]:
        """What may disappoint without being wrong, one line each."""
        found = {}
        longest, window = int(highest_of(self.space.annealing_epochs)), self.gates.window
        enough = longest + 4 * window
        if self.training.epochs < enough:
            found["short-training"] = (
                f"training.epochs: {self.training.epochs} epochs are too short to judge `settled`; with annealing up "
                f"to {longest} epochs and a window of {window}, train at least {enough}"
            )
        if self.study.trials < MIN_FINISHED_TRIALS:
            found["few-trials"] = (
                f"study.trials: {self.study.trials} trials are too few for a verdict; ask for at least "
                f"{MIN_FINISHED_TRIALS}"
            )
        if not self.confirmation.seeds:
            found["no-confirmation"] = (
                "confirmation.seeds: 0 proves nothing on fresh seeds, so that there is no verdict of stable; ask for "
                f"at least {MIN_CONFIRMATION_SEEDS}"
            )
        elif self.confirmation.seeds < MIN_CONFIRMATION_SEEDS:
            found["few-seeds"] = (
                f"confirmation.seeds: {self.confirmation.seeds} seeds are too few for a verdict of stable; ask for at "
                f"least {MIN_CONFIRMATION_SEEDS}"
            )
        return [Caution(text, code) for code, text in found.items()]

    def hyperparameters(self, values: Mapping[str, float | str]) -> Hyperparameters:
        """A trial's settings: the searched `values`, the space's fixed numbers, and what `[training]` decides."""
        settings = {**self.fixed_settings(), **values}
        return Hyperparameters(**{**settings, **{name: int(settings[name]) for name in WHOLE}})

    def fixed_settings(self) -> dict[str, Any]:
        """The settings that all trials share: the space's fixed numbers, and what `[training]` decides."""
        return {**self._training_settings(), **self.space.fixed()}

    def baseline_hyperparameters(self) -> dict[str, Hyperparameters]:
        """The settings of every baseline by name: before, after, then the user's own in their order.

        Settings that "before" and "after" leave out are the recipe's. A baseline of the user's own is what it says:
        what it leaves out is off, and the KL weight is that of β = 1. Learning rate and gradient clipping are those of
        `[training]` unless given.

        Raises:
            ValueError: the definition is not settled, and a baseline leaves out its KL weight.
        """
        return {name: Hyperparameters(**self._baseline_settings(name)) for name in self.baseline_names()}

    def plain_hyperparameters(self, features: int) -> Hyperparameters:
        """β = 1 from the first step on and nothing else: no annealing, clipping, L2 or dropout.

        Args:
            features: D, the number of features of a row.
        """
        unit = self.objective().unit_kl_weight(features, self.model.latent_dim)
        return Hyperparameters(kl_weight=unit, **self._training_settings())

    def translations(self, shape: tuple[int, ...]) -> list[str]:
        """What the baselines that are given in terms of the user's own mean in those of the study, one line each.

        Args:
            shape: of a row.
        """
        settled, found = self.settle(shape=shape, kl_band=None), []
        for name, baseline in self.baselines.items():
            if (loss := baseline.own_loss()) is None:
                continue
            now = settled.baselines[name].settings()
            beta = now["kl_weight"] / self.objective().unit_kl_weight(math.prod(shape), self.model.latent_dim)
            changed = {key: value for key, value in now.items() if value != getattr(baseline, key)}
            terms = ", ".join(f"{key} = {value:.3g}" for key, value in changed.items())
            kl = loss.script_kl(self.model.latent_dim, self.training.batch_size)
            found.append(
                f"baselines.{name}: your β = {beta:.3g}, {terms} in the terms of this study; a KL of {kl:g} in your "
                "script is 1 nat per latent"
            )
        return found

    def baseline_names(self) -> tuple[str, ...]:
        """The names of all baselines: before, after, then the user's own in their order."""
        return tuple(dict.fromkeys([*_RECIPE, *self.baselines]))

    def same_baselines(self) -> dict[str, str]:
        """The baselines that repeat an earlier one, by name, each with the name of that one, which is trained for both.

        Raises:
            ValueError: the definition is not settled, and a baseline leaves out its KL weight.
        """
        first: dict[tuple[Hyperparameters, Method | None], str] = {}
        found = self.baseline_hyperparameters().items()
        named = {name: first.setdefault((settings, self.baseline_method(name)), name) for name, settings in found}
        return {name: earlier for name, earlier in named.items() if name != earlier}

    def baseline_method(self, name: str) -> Method | None:
        """The method of a baseline; None where settings make it."""
        return self.baselines[name].method if name in self.baselines else None

    def _training_settings(self) -> dict[str, Any]:
        clipnorm = math.inf if self.training.clipnorm is None else self.training.clipnorm
        told: dict[str, Any] = {"learning_rate": self.training.learning_rate, "clipnorm": clipnorm}
        # A choice is said of each training only where the study chooses: earlier studies know of none.
        return told | {name: getattr(self.training, name) for name in self.space.choices()}

    def schedule(self, settings: Hyperparameters) -> KlSchedule:
        """How the KL weight of a training with these settings rises."""
        return self.training.schedule().shaped(settings.kl_schedule)

    def _baseline_settings(self, name: str) -> dict[str, Any]:
        # Which KL weight is β = 1 may depend on the data.
        plain = {**asdict(self.plain_hyperparameters(features=1)), "kl_weight": math.nan}
        rest = asdict(_RECIPE[name]) if name in _RECIPE else plain
        given = self.baselines[name].settings() if name in self.baselines else {}
        if not self.space.choices() and given.get("kl_schedule") == self.training.kl_schedule:
            del given["kl_schedule"]  # it is what all have
        return {**rest, **self._training_settings(), **given}

    def objective(self) -> Objective:
        """The objective: how the loss is put together."""
        return Objective(
            likelihood=LIKELIHOODS[self.model.likelihood],
            reconstruction_reduction=self.model.reconstruction_reduction,
            kl_reduction=self.study.kl_reduction,
        )

    def settle(self, *, shape: tuple[int, ...], kl_band: tuple[float, float] | None) -> Self:
        """The definition with what it leaves to the data: a band that is "auto", and the KL weight that is β = 1.

        Args:
            shape: of a row.
            kl_band: what the reference trainings gave; None where the definition says the band itself.
        """
        unit = self.plain_hyperparameters(math.prod(shape)).kl_weight
        band = kl_band if self.study.kl_band == "auto" and kl_band is not None else self.study.kl_band
        told = {
            name: baseline.translated(
                self.objective(),
                shape=shape,
                latent_dim=self.model.latent_dim,
                batch_size=self.training.batch_size,
                optimizer=self.training.optimizer,
            )
            for name, baseline in self.baselines.items()
        }
        baselines = {
            name: baseline
            if name in _RECIPE or baseline.kl_weight is not None
            else baseline.model_copy(update={"kl_weight": unit})
            for name, baseline in told.items()
        }
        study = self.study.model_copy(update={"kl_band": band})
        return self.model_copy(update={"study": study, "baselines": baselines})

    def filled_baselines(self) -> dict[str, Baseline]:
        """The baselines as earlier releases read them: what one of the user's own leaves out is that of "before"."""
        recipe = {name: value for name, value in asdict(BEFORE).items() if name not in self._training_settings()}
        return {
            name: baseline
            if name in _RECIPE or baseline.method is not None
            else baseline.model_copy(update={**recipe, **baseline.settings()})
            for name, baseline in self.baselines.items()
        }

    def thresholds(self) -> GateThresholds:
        """The thresholds of the gates, with the band they judge.

        Raises:
            ValueError: the band is "auto", and the definition is not settled.
        """
        if self.study.kl_band == "auto":
            raise ValueError("kl_band is 'auto', and no reference training has found it yet.")
        return GateThresholds(
            kl_band=self.study.kl_band, kl_reduction=self.study.kl_reduction, **self.gates.model_dump()
        )

    def fingerprint_parts(self) -> dict[str, Any]:
        """All of the definition that makes two trials comparable, as JSON values.

        Name, budget, baselines, confirmation and gates are left out: they change what is asked of the trials, not the
        trials. Only the gates' window counts: a trial's KL, and so its score, is the mean over it. A source that is a
        path counts by its last part, so that a study may move to another folder or machine; what the files hold is the
        business of the data's own fingerprint.
        """
        study = self.study.model_dump(include={"seed", "kl_band", "kl_reduction", "penalty", "sampler", "pruner"})
        # To studies that were made before these keys:
        unknown: dict[str, Any] = {"columns": {}, "missing": "refuse", "condition": None}
        left_out = {key for key, default in unknown.items() if getattr(self.data, key) == default}
        data = self.data.model_dump(exclude=left_out) | {"source": PurePath(self.data.source).name}
        parts = {"study": study, "data": data, "gates": self.gates.model_dump(include={"window"})}
        for section in ("model", "training", "space"):
            parts[section] = getattr(self, section).model_dump()
        schedule = self.training.schedule()  # with its defaults; a linear one is as if none were named
        parts["training"] |= {name: None for name in ("kl_schedule", "cycles", "ramp_share")}
        if schedule != LINEAR:
            parts["training"]["kl_schedule"] = asdict(schedule)
        for name in ("optimizer", "learning_rate_schedule", "deterministic"):  # none was known to earlier studies
            if getattr(self.training, name) == type(self.training).model_fields[name].default:
                parts["training"][name] = None
        if self.model.cell == DEFAULT_CELL:
            parts["model"]["cell"] = None
        plain: dict[str, Any] = _as_json(parts)
        return plain

    def changes_since(self, earlier: Mapping[str, Any]) -> list[str]:
        """What differs from the `fingerprint_parts` of an earlier study, one line per key.

        Hyperparameters that were not known to it were off.
        """
        off = {name: one.default for name, one in type(self.space).model_fields.items() if not one.is_required()}
        return differences({**earlier, "space": {**_as_json(off), **earlier["space"]}}, self.fingerprint_parts())


def _crossing_bounds(name: str, baseline: Baseline, settings: Mapping[str, float]) -> tuple[tuple[str, ...], str]:
    """The place where a baseline's clip bounds cross, one of which may be the recipe's, and the way out."""
    low, high = settings["clip_low"], settings["clip_high"]
    if baseline.clip_low is None:
        text = f"must lie above clip_low, but {high:g} <= {low:g}, the recipe's; give clip_low too"
        return ("baselines", name, "clip_high"), text
    recipe = ", the recipe's; give clip_high too" if baseline.clip_high is None else ""
    return ("baselines", name, "clip_low"), f"must lie below clip_high, but {low:g} >= {high:g}{recipe}"


def _as_json(value: Any) -> Any:
    """The same of JSON's types; infinity, which means "no bound", becomes None."""
    if isinstance(value, Mapping):
        return {key: _as_json(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_as_json(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def differences(old: Any, new: Any, *, key: str = "") -> list[str]:
    """The differences between two `fingerprint_parts`, one line per key.

    >>> differences({"training": {"learning_rate": 0.001}}, {"training": {"learning_rate": 0.01}})
    ['training.learning_rate: 0.001, now 0.01']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = dict.fromkeys([*old, *new])
        pairs = [(f"{key}.{name}" if key else name, old.get(name), new.get(name)) for name in names]
        return [line for path, before, after in pairs for line in differences(before, after, key=path)]
    return [] if old == new else [f"{key}: {_format_value(old)}, now {_format_value(new)}"]


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_format_value(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, str):
        return f"'{value}'"
    if value is None:
        return "none"
    return json.dumps(value)
