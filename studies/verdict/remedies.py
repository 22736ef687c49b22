"""The remedy of what most trainings suffer from: one cause, one thing to do, its measured size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from klsearch.studies.definitions.space import highest_of
from klsearch.studies.ladder import ladder_of
from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.candidates import own_settings
from klsearch.vae.data.cautions import UNSCALED
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import GateThresholds, judge, kl_slope
from klsearch.vae.hyperparameters import BEFORE
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN

# Times the band's upper end: a KL beyond it ran away.
_FAR_ABOVE = 10.0
_MOST_LONGER = 4.0
# Slopes decay as a power of the epoch: as the first where KL itself grows as a power, faster where it has a limit.
# A power below is that of a rise that has only begun.
_DECAYS = (1.0, 3.0)
# Share by which validation reconstructs worse than training where a model overfits.
LARGE_GAP = 0.3
_LEAST_KL = 0.05  # below, a model has collapsed and its KL's logarithm is noise
_NOTHING_LEARNT = 0.9  # of the variance, left unexplained
_MARGIN = 0.8  # of the slope allowed: seeds differ
_LONG_WINDOW = 10  # epochs over which a KL may be judged on advice
_RESTLESS = 0.1  # of its mean, about its trend: a KL that scatters by more is not just judged over too few epochs
_CLIPNORM = 1.0
_FAST = 0.01  # no learning rate above is usual for Adam


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do: what, why with its numbers, and the TOML or the command that does it, where there is one."""

    action: str
    reason: str
    code: str = ""

    @property
    def code_for(self) -> str:
        """Where the code goes: "definition" (TOML whose keys replace those of the definition), "command", or ""."""
        if not self.code:
            return ""
        return "definition" if self.code.startswith("[") else "command"

    @property
    def words(self) -> str:
        """Action and reason in one line."""
        return f"{self.action}. {self.reason}"


def remedy(
    study: StudyRecord, failing: Sequence[TrainingRun], of: int, edges: Sequence[tuple[str, str]] = ()
) -> Advice | None:
    """What to change so that trainings like these no longer fail; None where no remedy is known.

    Args:
        study: the records.
        failing: the trainings that miss a gate and were trained to their end.
        of: how many there are with those that do not.
        edges: of ranges that these trainings want to leave; see `Standing.edges`.
    """
    ills = [_ill(study, run) for run in failing]
    if not ills:
        return None
    ill = max(dict.fromkeys(ills), key=ills.count)
    struck = [run for run, name in zip(failing, ills, strict=True) if name == ill]
    if ill == "below" and _is_likelihood_deaf(study):
        ill = "reconstruction"
    if _is_unscaled(study) and ill in ("diverged", "above", "below"):
        return _scale(study, struck, of)
    side = dict(edges).get("kl_weight")
    if side is not None and ill in ("moving", "swaying") and _leads_inwards(study, struck, up=side == "high"):
        return _leave_edge(study, struck, of, up=side == "high")
    return _REMEDIES[ill](study, struck, of) if ill in _REMEDIES else None


def _is_unscaled(study: StudyRecord) -> bool:
    return study.data is not None and any(one.code == UNSCALED for one in study.data.warnings)


def _ill(study: StudyRecord, run: TrainingRun) -> str:
    """What a training suffers from first: the gates it misses after that follow from it."""
    if run.diverged:
        return "diverged"
    missed = {gate.name for gate in run.gates if not gate.passed}
    if _passes_usual_gates(study, run):
        return "strict"
    if "reconstruction" in missed and run.hyperparameters.learning_rate > _FAST:
        return "too fast"
    if "alive" in missed:
        return "below"
    if "band" in missed:
        return "above" if _banded(study, run) > study.definition.thresholds().kl_band[1] else "below"
    if "settled" in missed:
        if gap_of(run) > LARGE_GAP:
            return "overfitting"
        return "moving" if _drift(study, run) > study.definition.thresholds().max_kl_slope else "swaying"
    if "reconstruction" in missed:
        return "overfitting" if gap_of(run) > LARGE_GAP else "reconstruction"
    return "clipping"


def _is_likelihood_deaf(study: StudyRecord) -> bool:
    """Whether no trial learnt anything under the Bernoulli likelihood, whatever its KL weight."""
    found = [trial.unexplained for trial in study.complete if math.isfinite(trial.unexplained)]
    return study.definition.model.likelihood == BERNOULLI.name and min(found, default=0.0) > _NOTHING_LEARNT


def _stricter_gates(study: StudyRecord) -> dict[str, Any]:
    """The thresholds in which the definition asks for more than is usual, as they usually are."""
    usual, asked = GateThresholds(), study.definition.thresholds()
    looser = {"max_kl_slope": max, "min_active_share": min, "max_clip_share": max}
    found = {name: pick(getattr(usual, name), getattr(asked, name)) for name, pick in looser.items()}
    return {name: value for name, value in found.items() if value != getattr(asked, name)}


def _passes_usual_gates(study: StudyRecord, run: TrainingRun) -> bool:
    stricter = _stricter_gates(study)
    if not stricter or run.curves is None:
        return False
    thresholds = replace(study.definition.thresholds(), **stricter)
    return all(gate.passed for gate in judge(run.curves, run.measures, thresholds))


def _banded(study: StudyRecord, run: TrainingRun) -> float:
    return study.definition.thresholds().banded_kl(run.kl, study.definition.model.latent_dim)


def _leads_inwards(study: StudyRecord, runs: Sequence[TrainingRun], *, up: bool) -> bool:
    """Whether other KL weights bring these trainings' KL nearer to the band's middle; higher weights lower it."""
    kl, middle = float(np.median([_banded(study, run) for run in runs])), sum(study.definition.thresholds().kl_band) / 2
    return kl > middle if up else kl < middle


def _drift(study: StudyRecord, run: TrainingRun) -> float:
    """The absolute KL slope over two windows, in which ups and downs cancel; infinite where one is annealed."""
    window = 2 * study.definition.gates.window
    if run.curves is None or run.curves.epochs - run.hyperparameters.annealing_epochs < window:
        return math.inf
    return abs(kl_slope(run.curves, window))


def gap_of(run: TrainingRun) -> float:
    """Validation less training reconstruction at the end, as a share of the latter; NaN where it says nothing."""
    if run.curves is None or not run.curves.epochs or run.curves.reconstruction[-1] <= 0:
        return math.nan
    training = float(run.curves.reconstruction[-1])
    return float(run.curves.validation_reconstruction[-1]) / training - 1


def _trainings(n: int, of: int, verb: str = "") -> str:
    """So many of the trainings, with what they do.

    >>> _trainings(1, 8, "fail"), _trainings(2, 8, "fail")
    ('1 of 8 trainings fails', '2 of 8 trainings fail')
    """
    does = f" {verb}{'s' * (n == 1)}" if verb else ""
    return f"{n} of {of} trainings{does}"


def _scale(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    assert study.data is not None
    warning = next(one for one in study.data.warnings if one.code == UNSCALED)
    return Advice(
        action="Scale the data",
        reason=f"{_trainings(len(struck), of, 'fail')}, and the rows are unscaled: {warning}.",
        code='[data]\nscaling = "standard"',
    )


def _learn_slower(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    rates = [run.hyperparameters.learning_rate for run in struck]
    lower = float(f"{min(rates) / 10:.2g}") if min(rates) <= _FAST else BEFORE.learning_rate
    code = f"{_rate_toml(study, lower)}\nclipnorm = {_CLIPNORM!r}"
    became = f"{_trainings(len(struck), of)} diverged"
    if not all(run.diverged for run in struck):
        became = f"{_trainings(len(struck), of, 'learn')} nothing"
    return Advice(
        action="Lower the learning rate and clip gradients",
        reason=f"{became}, at learning rates of {_spread(rates)}.",
        code=code,
    )


def _rate_toml(study: StudyRecord, rate: float) -> str:
    """The learning rate as TOML that ends in `[training]`: a range below it where it is searched."""
    if "learning_rate" not in study.definition.space.searched():
        return f"[training]\nlearning_rate = {rate!r}"
    lowest = float(f"{rate / 10:.2g}")
    return f"[space]\nlearning_rate = {{ low = {lowest!r}, high = {rate!r}, log = true }}\n\n[training]"


def _steady(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    """Judge over more epochs where the noise of single epochs is all that moves; else take smaller steps, and more.

    The slope of a KL that scatters about its trend by chance falls with the window to the power of 3/2.
    """
    window, limit = study.definition.gates.window, study.definition.thresholds().max_kl_slope
    slopes = [abs(run.kl_slope) for run in struck]
    sides = {run.kl_slope > 0 for run in struck}
    moves = "goes up and down" if len(sides) > 1 else f"last {'rose' if True in sides else 'fell'}"
    reason = (
        f"In {_trainings(len(struck), of)} the KL {moves}, by {_spread(slopes)} of its mean per epoch over the last "
        f"{window} epochs, where {limit:g} is allowed, but by {_spread([_drift(study, run) for run in struck])} "
        f"over the last {2 * window}."
    )
    epochs = study.definition.training.epochs
    if 2 * window <= _LONG_WINDOW and max(_unrest(study, run) for run in struck) < _RESTLESS:
        needed = int(highest_of(study.definition.space.annealing_epochs)) + 4 * 2 * window
        longer = needed > epochs
        training = f" A window of {2 * window} epochs takes {needed} of training." if longer else ""
        return Advice(
            action=f"Judge the KL over {2 * window} epochs" + (f", and train for {needed}" if longer else ""),
            reason=f"{reason} So much of it is how single epochs scatter.{training}",
            code=f"[gates]\nwindow = {2 * window}" + (f"\n\n[training]\nepochs = {needed}" if longer else ""),
        )
    slower = min(max(1.5 * max(slopes) / limit, 2.0), 10.0)
    rate = float(f"{min(run.hyperparameters.learning_rate for run in struck) / slower:.2g}")
    more = _round_epochs(min(slower, _MOST_LONGER) * epochs)
    how_far = "smaller steps go as far in more epochs"
    if slower > _MOST_LONGER:
        how_far = "smaller steps do, and more than four times the epochs are not advised at once"
    return Advice(
        action=f"Lower the learning rate to {rate:g}, and train for {more} epochs",
        reason=f"{reason} Longer training alone would not settle that; {how_far}.",
        code=f"{_rate_toml(study, rate)}\nepochs = {more}",
    )


def _unrest(study: StudyRecord, run: TrainingRun) -> float:
    """Standard deviation of the KL about its straight line over two windows, as a share of its mean there."""
    assert run.curves is not None
    kl = np.asarray(run.curves.validation_kl[-2 * study.definition.gates.window :], dtype=float)
    at = np.arange(len(kl))
    return float(np.std(kl - np.polyval(np.polyfit(at, kl, 1), at)) / max(float(np.mean(kl)), _LEAST_KL))


def _round_epochs(epochs: float) -> int:
    """The epochs, rounded up to five."""
    return 5 * math.ceil(epochs / 5)


def _leave_edge(study: StudyRecord, struck: Sequence[TrainingRun], of: int, *, up: bool) -> Advice:
    """Search KL weights beyond the edge on which the trainings lie, before the noise there is treated."""
    given = study.definition.space.searched()["kl_weight"]
    action, code = _weights_beyond(study, struck, up=up)
    side = "highest" if up else "lowest"
    return Advice(
        action=action,
        reason=(
            f"{_trainings(len(struck), of, 'fail')} at the {side} KL weights of those searched ({given.low:g} to "
            f"{given.high:g}), beyond which better settings are expected."
        ),
        code=code,
    )


def _move_weights(study: StudyRecord, struck: Sequence[TrainingRun], of: int, *, up: bool) -> Advice:
    """Search KL weights where the trials' own line reaches the middle of the band, at most a decade beyond them."""
    low, high = study.definition.thresholds().kl_band
    kls = [_banded(study, run) for run in struck]
    side = "above" if up else "below"
    reason = f"{_trainings(len(struck), of, 'end')} {side} the band of {low:g} to {high:g}, at a KL of {_spread(kls)}"
    if not up and not all(kl < low for kl in kls):
        reason = f"{_trainings(len(struck), of)} collapsed: too few latents are active, at a KL of {_spread(kls)}"
    given = study.definition.space.searched().get("kl_weight")
    where = "" if given is None else f" where {given.low:g} to {given.high:g} was searched"
    action, code = _weights_beyond(study, struck, up=up)
    return Advice(action=action, reason=f"{reason}{where}.", code=code)


def _weights_beyond(study: StudyRecord, struck: Sequence[TrainingRun], *, up: bool) -> tuple[str, str]:
    """The action and the TOML that search KL weights on one side of these trainings."""
    centre = aimed_weight(study, struck, up=up)
    ends = [float(f"{centre * 10**decades:.2g}") for decades in (-0.5, 0.5)]
    # What failed is left behind, or the search may return to it.
    tried = float(f"{np.median([run.hyperparameters.kl_weight for run in struck]):.2g}")
    if ends[0] < tried < ends[1]:
        ends[0 if up else 1] = tried
        centre = math.sqrt(ends[0] * ends[1])
    return (
        f"{'Raise' if up else 'Lower'} the KL weight to about {centre:.2g}",
        f"[space]\nkl_weight = {{ low = {ends[0]!r}, high = {ends[1]!r}, log = true }}",
    )


def aimed_weight(study: StudyRecord, struck: Sequence[TrainingRun], *, up: bool) -> float:
    """The KL weight at which KL should meet the band: the nearest at which the ladder of KL weights has it there.

    Without one, by the line of ln KL over ln weight, held near the trials: a line that does not fall, or of fewer than
    three weights, gives the farthest weight tried and half a decade. Never more than a decade beyond the trials.
    """
    typical = float(np.median([math.log10(max(run.hyperparameters.kl_weight, 1e-300)) for run in struck]))
    if (ladder := ladder_of(study)) is not None:
        inside = [(math.log10(one) + math.log10(other)) / 2 for one, other in ladder.in_band if one > 0]
        beyond = [centre for centre in inside if (centre > typical if up else centre < typical)]
        if beyond:
            return float(10 ** min(beyond, key=lambda centre: abs(centre - typical)))
    low, high = study.definition.thresholds().kl_band
    middle = math.sqrt(low * high) if low > 0 else high / 2
    trials = [t for t in (*study.complete, *struck) if t.hyperparameters.kl_weight > 0]
    weights = [math.log10(run.hyperparameters.kl_weight) for run in trials]
    seen = [
        (math.log10(run.hyperparameters.kl_weight), math.log10(max(_banded(study, run), _LEAST_KL)))
        for run in trials
        if math.isfinite(run.kl) and _banded(study, run) > _LEAST_KL
    ]
    least, most = min(weights, default=-3.0), max(weights, default=-3.0)
    aim = most + 0.5 if up else least - 0.5
    if len({weight for weight, _ in seen}) > 2:
        slope, level = np.polyfit([weight for weight, _ in seen], [kl for _, kl in seen], 1)
        if slope < 0:
            aim = float((math.log10(middle) - level) / slope)
    aim = max(aim, typical) if up else min(aim, typical)
    return float(10 ** min(max(aim, least - 1), most + 1))


def _train_longer(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    now = study.definition.training.epochs
    asked = epochs_to_settle(study, struck)
    slopes = [abs(run.kl_slope) for run in struck if math.isfinite(run.kl_slope)]
    limit = study.definition.thresholds().max_kl_slope
    how_far = f"at the pace at which that falls, {asked} epochs settle it"
    if asked >= _MOST_LONGER * now:
        how_far = "more than four times as many are not advised at once"
    return Advice(
        action=f"Train for {asked} epochs",
        reason=(
            f"In {_trainings(len(struck), of)} the KL still moves after {now} epochs, by {_spread(slopes)} per epoch, "
            f"where {limit:g} is allowed; {how_far}."
        ),
        code=f"[training]\nepochs = {asked}",
    )


def epochs_to_settle(study: StudyRecord, runs: Sequence[TrainingRun]) -> int:
    """The epochs after which the KL of all these trainings settles: slopes are taken to fall as a power of the epoch.

    At most four times the epochs trained, rounded up to five. It aims a fifth below the slope that is allowed.
    """
    thresholds, epochs = study.definition.thresholds(), study.definition.training.epochs
    measured = [decay for run in runs if math.isfinite(decay := _decay(study, run))]
    # One training's is the noise of two windows; theirs together is not.
    decay = min(max(float(np.median(measured)) if measured else _DECAYS[0], _DECAYS[0]), _DECAYS[1])
    longest = float(epochs + thresholds.window)
    for run in runs:
        annealed = int(run.hyperparameters.annealing_epochs)
        factor = (abs(run.kl_slope) / (_MARGIN * thresholds.max_kl_slope)) ** (1 / decay)
        longest = max(longest, annealed + max(1, epochs - annealed) * factor)
    return _round_epochs(min(longest, _MOST_LONGER * epochs))


def _decay(study: StudyRecord, run: TrainingRun) -> float:
    """The power of the epoch with which a slope falls, counted from the end of annealing; NaN where it does not fall.

    From two windows, the last and one that ends halfway between the end of annealing and the end.
    """
    epochs, window = study.definition.training.epochs, study.definition.gates.window
    annealed = int(run.hyperparameters.annealing_epochs)
    earlier = max(annealed + window, (annealed + epochs) // 2)
    if run.curves is None or earlier >= run.curves.epochs:
        return math.nan
    late, early = abs(run.kl_slope), abs(kl_slope(TrainingCurves.from_rows(run.curves.as_rows()[:earlier]), window))
    return (
        math.log(early / late) / math.log((epochs - annealed) / (earlier - annealed)) if early > late > 0 else math.nan
    )


def _shrink(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    gap = float(np.median([gap_of(run) for run in struck]))
    model, rows = study.definition.model, study.data
    few = ""
    if rows is not None and rows.rows["train"] < rows.features:
        few = f", and there are fewer training rows ({rows.rows['train']}) than columns ({rows.features})"
    code = "[space]\nencoder_dropout = { low = 0.1, high = 0.7 }"
    if model.hidden:
        sizes = ", ".join(str(max(1, size // 2)) for size in model.hidden)
        code = f"[model]\nhidden = [{sizes}]\n\n{code}"
    return Advice(
        action="Use a smaller model, with dropout",
        reason=(
            f"{_trainings(len(struck), of, 'overfit')}: validation reconstructs {100 * gap:.0f} % worse than "
            f"training{few}."
        ),
        code=code,
    )


def _loosen_gates(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    gates = study.definition.gates
    stricter = _stricter_gates(study)
    told = ", ".join(f"`{name}` {getattr(gates, name):g} where {value:g} is usual" for name, value in stricter.items())
    return Advice(
        action="Loosen the gates",
        reason=f"{_trainings(len(struck), of, 'fail')} by gates stricter than usual alone ({told}).",
        code="\n".join(["[gates]", *(f"{name} = {value!r}" for name, value in stricter.items())]),
    )


def _open_clips(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    lows = [run.hyperparameters.clip_low for run in struck if math.isfinite(run.hyperparameters.clip_low)]
    highs = [run.hyperparameters.clip_high for run in struck if math.isfinite(run.hyperparameters.clip_high)]
    limit = study.definition.thresholds().max_clip_share
    low, high = (min(lows) - 5 if lows else -20.0), (max(highs) + 2 if highs else 10.0)
    return Advice(
        action="Move the clip bounds outwards",
        reason=f"In {_trainings(len(struck), of)} more than {100 * limit:g} % of the log-variances lie at a bound.",
        code=f"[space]\nclip_low = {low!r}\nclip_high = {high!r}",
    )


def _rethink_likelihood(study: StudyRecord, struck: Sequence[TrainingRun], of: int) -> Advice:
    found = [run.unexplained for run in struck if math.isfinite(run.unexplained)]
    reason = f"{_trainings(len(struck), of, 'reconstruct')} no better than the mean (`unexplained` {_spread(found)})"
    if study.definition.model.likelihood == BERNOULLI.name:
        return Advice(
            action="Use a Gaussian likelihood",
            reason=f"{reason} under the Bernoulli likelihood, to which values far from 0 and 1 all look alike.",
            code=f'[model]\nlikelihood = "{GAUSSIAN.name}"\n\n[data]\nscaling = "standard"',
        )
    weight = aimed_weight(study, struck, up=False)
    ends = [float(f"{weight * factor:.2g}") for factor in (0.1, 1.0)]
    return Advice(
        action=f"Lower the KL weight to about {weight:.2g}",
        reason=f"{reason}.",
        code=f"[space]\nkl_weight = {{ low = {ends[0]!r}, high = {ends[1]!r}, log = true }}",
    )


_REMEDIES = {
    "diverged": _learn_slower,
    "too fast": _learn_slower,
    "above": lambda study, struck, of: _move_weights(study, struck, of, up=True),
    "below": lambda study, struck, of: _move_weights(study, struck, of, up=False),
    "moving": _train_longer,
    "swaying": _steady,
    "overfitting": _shrink,
    "reconstruction": _rethink_likelihood,
    "clipping": _open_clips,
    "strict": _loosen_gates,
}


def own_settings_words(study: StudyRecord) -> str:
    """What became of the user's own settings where they collapsed or ran away; else empty."""
    told = []
    for name, runs in own_settings(study).items():
        kl = float(np.median([_banded(study, run) for run in runs]))
        if sum(run.diverged for run in runs) * 2 > len(runs):
            told.append(f"your settings (`{name}`) diverged")
        elif sum(_ill(study, run) == "below" for run in runs if not run.passed) * 2 > len(runs):
            told.append(f"your settings (`{name}`) collapsed (KL {kl:.2g}): {_move_words(study, runs, up=False)}")
        elif kl > _FAR_ABOVE * study.definition.thresholds().kl_band[1]:
            told.append(f"your settings (`{name}`) ran away (KL {kl:.3g}): {_move_words(study, runs, up=True)}")
    return "; ".join(told)


def _move_words(study: StudyRecord, runs: Sequence[TrainingRun], *, up: bool) -> str:
    return f"{'raise' if up else 'lower'} the KL weight to about {aimed_weight(study, runs, up=up):.1g}"


def side_of_band(study: StudyRecord) -> int:
    """On which side of the band this study's trainings fail: 1 above, −1 below or collapsed, 0 on neither.

    The user's own settings tell, where most of their trainings miss the band; else the trials.
    """
    for runs in (*own_settings(study).values(), study.complete):
        ills = [_ill(study, run) for run in runs if not run.passed]
        above, below = ills.count("above"), ills.count("below")
        if above != below and (runs is study.complete or 2 * max(above, below) > len(runs)):
            return 1 if above > below else -1
    return 0


def _spread(values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "no finite value"
    low, high = f"{min(finite):.3g}", f"{max(finite):.3g}"
    return low if low == high else f"{low} to {high}"
