"""The facts of a study as a whole, beside its definition and its rows."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, Self

from klsearch.search.layout import Layout
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import DataFacts, Reference
from klsearch.vae.data.cautions import Caution

# Of the first release, whose studies do not say it.
_FIRST_SCORING = {"measures": 1, "score": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """The facts of a study: settled when it is created, or found on its way.

    Attributes:
        layout: how members are trained; measured or chosen once.
        comparable: all of the definition that makes two trials comparable, as JSON values.
        folder: what relative sources are relative to, and where the user's modules are looked for.
        data: what it is trained on.
        provenance: versions, machine and commands, by name, in display order.
        winner: number of the confirmed winner; None before.
        confirmed_among: how many trials had finished when it was last chosen; None before, and where the first release
            chose it.
        test_looks: when the test split was scored, UTC.
        looked_at: the rows of the confirmation for which it was scored last.
        reference: what the band was taken from; None where the definition says it.
        procedure: how it comes to its winner.
        scoring: versions of the measures and of the score that its trials share.
        warm_start: which trials of an earlier study it began with, in words; empty without.
        ladder: how many rungs it begins with; none in a study that began without.
        lag: a trial is suggested from what came of the trials at least so far before it, whatever others have ended by
            then; 0 in a study that began without, whose course depends on when its trials end.
        recipe_fills: whether what a baseline of the user's own leaves out is that of "before", as it was when studies
            of earlier releases began; it is off since.
        confirmed_as: for what the confirmation was last finished, see `confirmation_digest`; empty before.
    """

    layout: Layout
    comparable: Mapping[str, Any]
    folder: str
    data: DataFacts
    provenance: Mapping[str, str]
    winner: int | None = None
    confirmed_among: int | None = None
    test_looks: tuple[str, ...] = ()
    looked_at: tuple[int, ...] = ()
    reference: Reference | None = None
    warm_start: str = ""
    ladder: int = 0
    lag: int = 0
    procedure: Procedure = Procedure.OWN_SEEDS
    scoring: Mapping[str, int] = field(default_factory=_FIRST_SCORING.copy)
    recipe_fills: bool = False
    confirmed_as: str = ""

    @property
    def fingerprint(self) -> str:
        """sha256, in hex, of what makes two trials comparable."""
        parts: dict[str, Any] = {
            "definition": self.comparable,
            "layout": self.layout.as_json(),
            "data": self.data.fingerprint,
        }
        if self.reference is not None:
            parts["kl_band"] = self.reference.kl_band
        if self.procedure is not Procedure.OWN_SEEDS:
            parts["procedure"] = self.procedure
        if self.scoring != _FIRST_SCORING:
            parts["scoring"] = self.scoring
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def settle(self, definition: StudyDefinition) -> StudyDefinition:
        """The study's definition with what it leaves to the data and to reference trainings."""
        band = self.reference.kl_band if self.reference is not None else None
        if self.recipe_fills:
            definition = definition.model_copy(update={"baselines": definition.filled_baselines()})
        return definition.settle(shape=self.data.shape, kl_band=band)

    def is_confirmed(self, definition: StudyDefinition, counted: Collection[int]) -> bool:
        """Tell whether nothing of a confirmation is left to do, under a settled definition and after these trials."""
        return self.confirmed_as == confirmation_digest(definition, counted)

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        codes = [warning.code for warning in self.data.warnings]
        data = {**asdict(self.data), "warnings": list(self.data.warnings), "codes": codes}
        return {**asdict(self), "layout": self.layout.as_json(), "data": data}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The facts that `as_json` wrote."""
        data = values["data"]
        layout = Layout(**values["layout"])
        # Warnings of the first release have no codes.
        coded = zip_longest(data.get("warnings", ()), data.get("codes", ()), fillvalue="")
        lists = {"shape": tuple(map(int, data.get("shape", ()))), "notes": tuple(map(str, data.get("notes", ())))}
        by_split = {
            "rows": {split: int(rows) for split, rows in data["rows"].items()},
            "pca": {split: float(value) for split, value in data.get("pca", {}).items()},
        }
        kept = {name: value for name, value in data.items() if name != "codes"}
        data = DataFacts(
            **{**kept, **lists, **by_split, "warnings": tuple(Caution(text, code) for text, code in coded)}
        )
        reference = values.get("reference")
        if reference is not None:
            reference = Reference(**{**reference, "kl_band": tuple(reference["kl_band"])})
        found = {
            "layout": layout,
            "data": data,
            "test_looks": tuple(values["test_looks"]),
            "looked_at": tuple(values.get("looked_at", ())),
            "reference": reference,
        }
        procedure = Procedure(values.get("procedure", Procedure.OWN_SEEDS))
        values = {"recipe_fills": True, **values}
        # Shares of importance were stored until a model of the trials took their place.
        kept = {name: value for name, value in values.items() if name != "importance"}
        return cls(**{**kept, **found, "procedure": procedure})


def confirmation_digest(definition: StudyDefinition, counted: Collection[int]) -> str:
    """One short string for all that a confirmation depends on: who is trained on what, how judged, after which trials.

    Args:
        definition: of the study, settled.
        counted: numbers of the trials that had finished.
    """
    asked = definition.model_dump(mode="json", include={"confirmation", "gates", "baselines"})
    return hashlib.sha256(json.dumps([asked, sorted(counted)], sort_keys=True).encode()).hexdigest()[:32]
