"""The audit: every experiment on a user's own VAE, and the facts that they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from klsearch.vae.data.rows import Rows
from klsearch.vae.diagnostics.audit.batches import batch_findings
from klsearch.vae.diagnostics.audit.effects import (
    active_weights,
    annealing_findings,
    dropout_findings,
    kl_weight_findings,
    l2_findings,
    training_findings,
)
from klsearch.vae.diagnostics.audit.facts import tell_facts
from klsearch.vae.diagnostics.audit.findings import Facts, Finding
from klsearch.vae.diagnostics.audit.fits import play_fit
from klsearch.vae.diagnostics.audit.kl import find_late, kl_findings, kl_pull
from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory
from klsearch.vae.diagnostics.audit.sampling import head_findings, log_var_findings, noise_findings, probe_log_var

_ROWS = 256


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of a model.

    Attributes:
        findings: settings without effect, and the like; empty for a sound model.
        facts: reductions and weights, by name; None where no experiment could tell.
    """

    findings: tuple[Finding, ...]
    facts: Facts


def audit_model(
    model: keras.Model,
    rows: Rows,
    callbacks: Sequence[Any] = (),
    networks: tuple[keras.layers.Layer, keras.layers.Layer] | None = None,
) -> Audit:
    """Examine a compiled VAE with its own `train_step`; afterwards it is as it was before.

    Args:
        model: a compiled one.
        rows: as it is trained on, shape [N, *row shape]; the first 256 are used.
        callbacks: those that set its KL weight.
        networks: its encoder and decoder, where they are not its attributes `encoder` and `decoder`.

    Raises:
        AuditProblem: it lacks a part, or a step or a callback fails.
    """
    lab = Laboratory(model, np.asarray(rows[:_ROWS], dtype=np.float32), tuple(callbacks), networks)
    if len(lab.rows) < 2:
        raise AuditProblem("an audit takes two rows at least.")
    moments = play_fit(lab)
    lab.kl_weights = active_weights(lab)
    find_late(lab)
    pull = kl_pull(lab)
    heads, noise = head_findings(lab), noise_findings(lab)
    is_probed = bool(pull) and not {"heads_activated", "noise_unused"} & {each.code for each in (*heads, *noise)}
    probes = probe_log_var(lab, pull) if pull and is_probed else []
    findings = [
        *l2_findings(lab),
        *dropout_findings(lab),
        *training_findings(lab),
        *kl_findings(pull),
        *([] if pull == 0 else [*kl_weight_findings(lab), *annealing_findings(lab, moments)]),
        *heads,
        *noise,
        *(log_var_findings(lab, probes) if probes else []),
        *batch_findings(lab),
    ]
    return Audit(tuple(findings), tell_facts(lab, pull, probes, moments))
