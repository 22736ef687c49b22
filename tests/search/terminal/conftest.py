"""Trainings to be told of."""

from klsearch.search.terminal.progress import EndedTraining
from klsearch.studies.ranking import Rank

VALUES = {
    **{"epoch": 37.0, "epochs": 60.0, "kl": 2.34567, "reconstruction": 1.1644, "kl_weight": 0.1, "total": 1.3991},
    **{"validation_kl": 9.0, "nonfinite_steps": 0.0},
}


def ended_training(label: str, score: float, kl: float = 2.0, *, violation: float = 0.0) -> EndedTraining:
    return EndedTraining(label=label, kl=kl, rank=Rank.of(complete=True, violations={"band": violation}, score=score))
