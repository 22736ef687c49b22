"""The tables of a study definition, each checked by itself."""

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, create_model, model_validator
from pydantic_core import PydanticKnownError

from klsearch.studies.definitions.space import (
    NUMBER_TAG,
    UNBOUNDED_NUMBER,
    WORD_TAG,
    Section,
    check_rule,
    problem,
    problems_at,
)
from klsearch.vae.data.conditions import LABELS
from klsearch.vae.hyperparameters import CHOICES, NAMES, RULES, UNBOUNDED, WHOLE
from klsearch.vae.likelihoods.catalog import LIKELIHOODS
from klsearch.vae.networks.kinds import KINDS
from klsearch.vae.networks.workload import CELLS, DEFAULT_CELL
from klsearch.vae.objective import Objective, OwnLoss
from klsearch.vae.training.optimizer import OPTIMIZERS
from klsearch.vae.training.schedules import ADAM, FALLS, LINEAR, SHAPES, KlSchedule, Learning

Count = Annotated[int, Field(ge=1)]
_Text = Annotated[str, Field(min_length=1)]
# TOML has arrays where these have tuples, which strict checking would refuse.
_Sizes = Annotated[tuple[Count, ...], Field(min_length=1, strict=False)]
_Band = Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], Field(strict=False)]


def _check_auto(word: str) -> str:
    if word != "auto":
        raise problem("must be two numbers, such as [0.0, 5.0], or 'auto', but is '{word}'", word=word)
    return word


_BandOrAuto = Annotated[
    Annotated[_Band, Tag(NUMBER_TAG)] | Annotated[Literal["auto"], BeforeValidator(_check_auto), Tag(WORD_TAG)],
    Discriminator(lambda value: WORD_TAG if isinstance(value, str) else NUMBER_TAG),
]


def _check_all(word: str) -> str:
    if word != "all":
        raise problem("must be names of layers, such as ['dropout'], or 'all', but is '{word}'", word=word)
    return word


def _check_labels(word: str) -> str | tuple[str, ...]:
    return word if word == LABELS else (word,)


def _check_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise problem("names '{name}' more than once", name=twice)
    return names


_Names = Annotated[tuple[_Text, ...], Field(min_length=1, strict=False), AfterValidator(_check_once)]
_NamesOrAll = Annotated[
    Annotated[_Names, Tag(NUMBER_TAG)] | Annotated[Literal["all"], BeforeValidator(_check_all), Tag(WORD_TAG)],
    Discriminator(lambda value: WORD_TAG if isinstance(value, str) else NUMBER_TAG),
]
# Columns by name, one of them without brackets too; or the labels.
_Condition = Annotated[
    Annotated[_Names, Tag(NUMBER_TAG)] | Annotated[_Text, AfterValidator(_check_labels), Tag(WORD_TAG)],
    Discriminator(lambda value: WORD_TAG if isinstance(value, str) else NUMBER_TAG),
]

Method = Literal["beta1", "sigma", "control"]
METHOD_NAMES: dict[Method, str] = {
    "beta1": "a plain VAE (β = 1)",
    "sigma": "a σ-VAE",
    "control": "a VAE with a KL controller",
}
Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid"]


def _refuse_for_now(values: tuple[str, ...], instead: str) -> BeforeValidator:
    """A refusal of values that belong to the language of definitions but that this version cannot run."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in values:
            raise problem("'{value}' is not available yet in this version; {instead}", value=value, instead=instead)
        return value

    return BeforeValidator(check)


_PrunerName = Literal["none", "median", "successive_halving"]
_OTHER_PRUNERS = ("percentile", "hyperband", "threshold", "patient", "wilcoxon")
_OTHER_PRECISIONS = ("float16", "bfloat16", "float64", "mixed_float16")


# A folder's name may have 255 bytes on most systems, and files beside it have longer ones.
_MOST_NAME_BYTES = 120
# What a storage keeps beside a study lies in studies of its name with these endings.
CONFIRMATION_ENDING, TURNS_ENDING = RESERVED_ENDINGS = " (confirmation)", " (turns)"


def extended_name(name: str, ending: str) -> str:
    """A study's name with an ending, cut before it where both would be too long for a name.

    >>> extended_name("digits", "-trial-7")
    'digits-trial-7'
    >>> len(extended_name("ä" * 60, "-trial-7").encode())
    120
    """
    kept = name.encode()[: _MOST_NAME_BYTES - len(ending.encode())]
    return kept.decode(errors="ignore") + ending  # without the part of a letter at the cut


def _check_folder_name(name: str) -> str:
    """The name, if a run folder can bear it on every system."""
    if name != name.strip() or name in ("", ".", "..") or name.startswith("-"):
        raise problem("a study's name must not be empty, '.' or '..', begin with '-', or begin or end with a space")
    if any(char in '/\\:*?"<>|' or not char.isprintable() for char in name):
        raise problem("a study's name becomes a folder: no / \\ : * ? \" < > | and no control characters")
    if name.endswith(RESERVED_ENDINGS):
        endings = " or ".join(f"'{ending.strip()}'" for ending in RESERVED_ENDINGS)
        raise problem("a study's name must not end in {endings}, which mark what is kept beside it", endings=endings)
    if len(name.encode()) > _MOST_NAME_BYTES:
        raise problem(f"a study's name must not be longer than {_MOST_NAME_BYTES} bytes")
    return name


class StudySection(Section):
    """`[study]`: name, budget and what is asked of the KL.

    Attributes:
        name: also the name of the run folder.
        seed: from which the split, the sampler and every trial's seed are derived.
        trials: finished trials in all.
        kl_band: lowest and highest acceptable final KL in nats, in the unit of `kl_reduction`; "auto" has them found by
            reference trainings when the study is created.
        kl_reduction: whether the loss and the band take KL as a mean over latents or as their sum.
        penalty: weight of lying outside the band in the score.
        sampler: which Optuna sampler proposes trials.
        stop: when the search ends: "decided", once more of it no longer pays, or "budget", when `trials` have finished.
        pruner: what ends trials early: "median", those that are worse so far than half of the others were;
            "successive_halving" lets half go on after a quarter of the training at full KL weight, and half of those
            after another quarter.
    """

    name: Annotated[str, AfterValidator(_check_folder_name)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    trials: Count
    kl_band: _BandOrAuto = (0.0, 5.0)
    kl_reduction: Literal["mean", "sum"] = "mean"
    penalty: Annotated[float, Field(ge=0)] = 1.0
    sampler: Literal["tpe", "random", "qmc"] = "tpe"
    stop: Literal["decided", "budget"] = "budget"
    pruner: Annotated[
        _PrunerName,
        _refuse_for_now(_OTHER_PRUNERS, f"use one of {', '.join(map(repr, get_args(_PrunerName)))}"),
    ] = "none"

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        if self.kl_band != "auto" and self.kl_band[0] >= self.kl_band[1]:
            low, high = self.kl_band
            text = f"its first number must lie below its second, but {low:g} >= {high:g}"
            raise problems_at("study", [(("kl_band",), text)])
        return self


class Split(Section):
    """Shares of the rows that are held out, in [0, 1); the rest trains."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(ge=0, lt=1)] = 0.15

    @model_validator(mode="after")
    def _check_rows_left(self) -> Self:
        if self.validation + self.test >= 1:
            raise problem(
                "validation and test must leave rows to train on, but add up to {total}",
                total=round(self.validation + self.test, 6),
            )
        return self


class DataSection(Section):
    """`[data]`: where the rows come from and how they are scaled and split.

    Attributes:
        source: "digits", "fashion-mnist", "mnist", a file, a folder, or "package.module:function".
        array: name of the array in an .npz that holds several.
        rows: only the first so many.
        scaling: how values are scaled; fitted on the training split alone.
        split: shares of the rows held out, drawn from the study's seed.
        split_column: column that holds train, validation or test for each row, instead of `split`.
        labels: column of labels, taken out of the data.
        group: column whose equal values stay together in one split, taken out of the data.
        condition: columns, arrays or names that are told to encoder and decoder instead of being learned; or "labels".
        columns: what a column of a table, or a condition, is taken for, where the guess is wrong.
        missing: whether missing values are refused, or masked.
    """

    source: _Text
    array: _Text | None = None
    rows: Count | None = None
    scaling: Literal["auto", "none", "minmax", "standard"] = "auto"
    split: Split = Split()
    split_column: _Text | None = None
    labels: _Text | None = None
    group: _Text | None = None
    condition: _Condition | None = None
    columns: dict[str, Literal["number", "category", "count", "ignore"]] = Field(default_factory=dict)
    missing: Literal["refuse", "mask"] = "refuse"

    @model_validator(mode="after")
    def _check_one_way_to_split(self) -> Self:
        if self.split_column is not None:
            text = "split_column already says where each row goes; remove one of them"
            found = [((name,), text) for name in ("split", "group") if name in self.model_fields_set]
            if found:
                raise problems_at("data", found)
        return self


def _one_of(names: Iterable[str]) -> AfterValidator:
    """Refuses what is none of these."""

    def check(name: str) -> str:
        if name not in names:
            *others, last = map(repr, names)
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
        return name

    return AfterValidator(check)


class ModelSection(Section):
    """`[model]`: the architecture.

    Attributes:
        kind: "dense", "conv", "conv1d", "recurrent", or for the user's own "package.module:name", "file.py:name" or a
            saved "file.keras".
        hidden: widths of the encoder's dense hidden layers, after its convolutions if it has any, or of its recurrent
            ones; the decoder mirrors them.
        filters: filters of the convolutional encoder's layers; the decoder mirrors them.
        cell: of recurrent layers.
        latent_dim: d, the number of latents.
        activation: of the hidden layers.
        likelihood: of a row given its latents.
        reconstruction_reduction: whether the reconstruction error of a row is a sum over its features or their mean.
        latent_heads: of a model of the user's own, the names of the outputs or layers that are z_mean and z_log_var.
        searched_dropout: of such a model, the names of the Dropout layers in the encoder whose rate is searched.
    """

    kind: Annotated[str, Field(pattern=rf"^({'|'.join(KINDS)}|([A-Za-z_][\w.]*|.+\.py):[A-Za-z_]\w*|.+\.keras)$")]
    hidden: _Sizes | None = None
    filters: _Sizes | None = None
    cell: Annotated[str, _one_of(CELLS)] | None = None
    latent_dim: Count
    activation: Activation = "relu"
    likelihood: Annotated[str, _one_of(LIKELIHOODS)] = "gaussian"
    reconstruction_reduction: Literal["sum", "mean"] = "sum"
    latent_heads: Annotated[tuple[_Text, _Text], Field(strict=False)] | None = None
    searched_dropout: _NamesOrAll | None = None

    @property
    def is_own(self) -> bool:
        """Whether the model is the user's own."""
        return self.kind not in KINDS

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        known = KINDS[self.kind].sizes if self.kind in KINDS else ()
        wanted = known[0] if known else None
        found: list[tuple[tuple[str, ...], str]] = []
        for name in ("hidden", "filters", "cell"):
            given = getattr(self, name) is not None
            if name == wanted and not given:
                found.append(((name,), f"missing; a {self.kind} model needs it, such as {name} = [128, 64]"))
            elif name not in known and given:
                found.append(((name,), f"has no effect on a model of kind '{self.kind}'; remove it"))
        for name in ("latent_heads", "searched_dropout"):
            if getattr(self, name) is not None and not self.is_own:
                found.append(((name,), "is for models of your own alone; remove it"))
        if "activation" in self.model_fields_set and known and not KINDS[self.kind].has_activation:
            found.append((("activation",), f"has no effect on a model of kind '{self.kind}'; remove it"))
        if found:
            raise problems_at("model", found)
        return self

    def sizes(self) -> dict[str, Any]:
        """What says how large a model of a built-in kind is, by key."""
        given = {"hidden": self.hidden or (), "filters": self.filters or (), "cell": self.cell or DEFAULT_CELL}
        return {name: given[name] for name in KINDS[self.kind].sizes} if self.kind in KINDS else {}


class TrainingSection(Section):
    """`[training]`: how long and how fast every member trains.

    Attributes:
        epochs: of every trial.
        batch_size: rows per step.
        optimizer: by which every member moves, with Keras's defaults.
        learning_rate: the optimizer's, where it is not searched.
        learning_rate_schedule: how it falls over the epochs, to a hundredth of what it begins with.
        clipnorm: largest norm of a variable's gradient, where it is not searched; None or infinity for no clipping.
        kl_schedule: the shape in which the KL weight rises over a trial's annealing epochs.
        cycles: of a cyclical schedule, within the annealing epochs.
        ramp_share: share of each cycle over which the weight rises.
        precision: of the arithmetic; "mixed_bfloat16" takes 16 bits of each factor of a matrix product.
        deterministic: whether a card computes a trial to the same bits each time; a processor does anyway.
    """

    epochs: Count
    batch_size: Count = 128
    optimizer: Annotated[str, _one_of(OPTIMIZERS)] = ADAM.optimizer
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    learning_rate_schedule: Annotated[str, _one_of(FALLS)] = ADAM.schedule
    clipnorm: Annotated[float, Field(gt=0, allow_inf_nan=True)] | None = None
    kl_schedule: Annotated[str, _one_of(SHAPES)] = LINEAR.shape
    cycles: Annotated[int, Field(ge=1, le=1000)] | None = None
    ramp_share: Annotated[float, Field(gt=0, le=1)] | None = None
    precision: Annotated[
        Literal["float32", "mixed_bfloat16"],
        _refuse_for_now(_OTHER_PRECISIONS, "use 'float32' or 'mixed_bfloat16'"),
    ] = "float32"
    deterministic: bool = True

    def learning(self) -> Learning:
        """How members move along their gradients."""
        return Learning(optimizer=self.optimizer, schedule=self.learning_rate_schedule, epochs=self.epochs)

    def schedule(self) -> KlSchedule:
        """How the KL weight rises."""
        given = {name: getattr(self, name) for name in ("cycles", "ramp_share")}
        return KlSchedule(shape=self.kl_schedule, **{key: value for key, value in given.items() if value is not None})


# What a method decides by itself; how fast members learn is nobody's rule.
_DECIDED = (*(name for name, rule in RULES.items() if not rule.in_training), *CHOICES)


def _baseline_field(name: str) -> Any:
    """A hyperparameter's type and default, as pydantic takes them."""
    if name in CHOICES:
        return Annotated[str, _one_of(CHOICES[name].options)] | None, None
    kind = int if name in WHOLE else UNBOUNDED_NUMBER if name in UNBOUNDED else float
    return Annotated[kind, check_rule(RULES[name])] | None, None


_Settings: Any = create_model(
    "_Settings", __base__=Section, **{name: _baseline_field(name) for name in (*NAMES, *CHOICES)}
)


# The keys in which a user says how a loss of their own is put together.
_TERMS = tuple(one.name for one in fields(OwnLoss))


class Baseline(_Settings):  # type: ignore[misc] # its fields are those of `Hyperparameters`
    """`[baselines.NAME]`: settings to beat, those left out being off; or a method that needs none of them.

    Attributes:
        method: "beta1", the plain evidence lower bound: a KL weight of 1 nat per nat from the start, and nothing else
            of the recipe. "sigma", a Gaussian decoder whose variance is the best for each batch. "control", a KL weight
            that a controller moves until the KL is in the middle of the band. See `vae.training.weighting`.
        reconstruction: how a loss of the user's own reduces it, in whose terms `kl_weight`, `l2`, `clipnorm` and, where
            the optimizer follows the loss's scale, `learning_rate` then are.
        reconstruction_weight: what it multiplies the reconstruction by.
        kl: how it reduces the KL: see `vae.objective.OwnLoss`.
    """

    method: Method | None = None
    reconstruction: Literal["sum", "mean"] | None = None
    reconstruction_weight: Annotated[float, Field(gt=0)] | None = None
    kl: Literal["sum", "mean", "batch sum"] | None = None

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        decided = (*_DECIDED, *_TERMS)
        given = [name for name in decided if self.method is not None and getattr(self, name) is not None]
        if given:
            text = f"method = '{self.method}' decides it; remove one of them"
            raise problems_at("baseline", [((name,), text) for name in given])
        return self

    def settings(self) -> dict[str, Any]:
        """The settings that were given, by hyperparameter; without those that wait for `translated`."""
        waiting = () if self.own_loss() is None else ("kl_weight", "l2")
        values = {name: getattr(self, name) for name in (*NAMES, *CHOICES) if name not in waiting}
        return {name: value for name, value in values.items() if value is not None}

    def own_loss(self) -> OwnLoss | None:
        """The user's own loss, in whose terms the settings are given; None if they are in the study's."""
        given = {name: getattr(self, name) for name in _TERMS}
        told = {name: value for name, value in given.items() if value is not None}
        return OwnLoss(**told) if told else None

    def translated(
        self, objective: Objective, *, shape: tuple[int, ...], latent_dim: int, batch_size: int, optimizer: str
    ) -> Self:
        """The same in the terms of the study, of whose loss the user's own is a multiple.

        So are its gradients: their largest norm is the same multiple, and steps along them are as long at a learning
        rate that is less by it, unless the optimizer takes out their scale.
        """
        loss = self.own_loss()
        if loss is None:
            return self
        weight = 1.0 if self.kl_weight is None else self.kl_weight
        features, terms = math.prod(shape), objective.likelihood.terms(shape)
        beta = loss.beta(weight, terms=terms, latent_dim=latent_dim, batch_size=batch_size)
        scale = objective.reconstruction_scale(features) / loss.reconstruction_share(terms)
        factors = {"l2": scale, "clipnorm": scale}
        if OPTIMIZERS[optimizer].follows_scale:
            factors["learning_rate"] = 1 / scale
        given = {name: getattr(self, name) for name in factors}
        changes = {
            "kl_weight": beta * objective.unit_kl_weight(features, latent_dim),
            **{name: value * factors[name] for name, value in given.items() if value is not None},
        }
        copied: Self = self.model_copy(update={**changes, **dict.fromkeys(_TERMS)})
        return copied


class ConfirmationSection(Section):
    """`[confirmation]`: the proof on fresh seeds; `seeds = 0` leaves it out."""

    seeds: Annotated[int, Field(ge=0)] = 8
    top: Count = 3


class GatesSection(Section):
    """`[gates]`: what the word *stable* asks for; see `vae.diagnostics.gates.GateThresholds`."""

    window: Annotated[int, Field(ge=2)] = 5
    max_kl_slope: Annotated[float, Field(gt=0)] = 0.01
    min_active_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_clip_share: Annotated[float, Field(ge=0, le=1)] = 0.05
