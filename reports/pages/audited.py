"""A user's own VAE as an audit found it: its findings, its facts, and the definition that searches its settings."""

from collections.abc import Sequence
from datetime import UTC, datetime

from klsearch.reports.page import Banner, Block, Code, Facts, Mark, Page, Prose, Section, Table, Tile
from klsearch.reports.wording import NOTHING, capitalized, count, number, utc
from klsearch.vae.diagnostics.audit.findings import Facts as AuditFacts
from klsearch.vae.diagnostics.audit.findings import Finding

_WORDS = {
    "latent_dim": "latents, d",
    "features": "values of a row, D",
    "rows": "rows of a batch, which the weights are those of",
    "kl_weight": "KL weight that the model holds",
    "kl_reduction": "KL over latents",
    "kl_form": "what the loss makes of KL",
    "log_var_clip": "log-variance clipped",
    "reconstruction": "reconstruction error",
    "reconstruction_reduction": "reconstruction over values",
    "reconstruction_weight": "weight of the reconstruction, summed over values",
    "kl_pull": "weight of the KL, summed over latents",
    "beta_effective": "β, nats of KL that weigh as much as one of reconstruction",
    "validation": "what validation reports",
    "gradients": "gradients that the optimizer gets",
}
_METHOD = (
    "Nothing was trained. On 256 rows at most, each part was changed by itself (a regulariser, a dropout rate, the KL "
    "weight, the noise, the log-variance), one step of the model's own `train_step` was taken, and its gradients were "
    "compared with those before; callbacks were called as `fit` calls them. Weights, optimizer and random state are "
    "what they were."
)
_SEARCH = (
    "Save this as `mine.toml` beside your module; `klsearch check mine.toml` says how long `klsearch run` will take."
)
_PAIR = "Name a function that gives the model alone, without callbacks, for a definition that searches its settings."


def audited_page(findings: Sequence[Finding], facts: AuditFacts, definition: str, name: str) -> Page:
    """The content of the page of an audit, without a line of HTML.

    Args:
        findings: in the order in which they were found.
        facts: reductions and weights by name.
        definition: that `klsearch run` takes; "" where there is none.
        name: what makes the model.
    """
    found = _finding_blocks(findings) if findings else (Prose(text=_sentence(findings), tone="good"),)
    search = (Prose(text=_SEARCH), Code(label="mine.toml", text=definition)) if definition else (Prose(text=_PAIR),)
    return Page(
        study=name,
        kind="audit · model",
        origin="an audit of the model's own training step",
        banner=Banner(
            word=capitalized(_heading(findings)),
            tone="bad" if findings else "good",
            sentence=_sentence(findings),
            tiles=_tiles(facts),
        ),
        sections=(
            Section(identity="findings", title="What does not do what it seems to?", blocks=found),
            Section(identity="facts", title="What does it train on?", blocks=(_facts(facts),)),
            Section(identity="method", title="How was it found out?", blocks=(Prose(text=_METHOD),)),
            Section(identity="next", title="What next?", blocks=search),
        ),
        as_of=utc(datetime.now(UTC)),
    )


def _heading(findings: Sequence[Finding]) -> str:
    return count(len(findings), "finding") if findings else "no finding"


def _sentence(findings: Sequence[Finding]) -> str:
    if not findings:
        return "What is set has an effect: no experiment found a setting without one."
    first = findings[0]
    return f"{first.evidence} First: {first.remedy}"


def _finding_blocks(findings: Sequence[Finding]) -> tuple[Block, ...]:
    rows = tuple(
        (Mark(text=each.code.replace("_", " "), tone="bad"), each.evidence, capitalized(each.remedy))
        for each in findings
    )
    return (
        Table(
            caption="Findings, one a line",
            columns=("finding", "what was done and seen", "how to mend it"),
            rows=rows,
            words=(0, 1, 2),
        ),
    )


def _tiles(facts: AuditFacts) -> tuple[Tile, ...]:
    return (
        Tile(label="β", value=_value(facts["beta_effective"]), detail="1 is the plain bound"),
        Tile(label="KL", value=_value(facts["kl_reduction"]), detail=f"over {_value(facts['latent_dim'])} latents"),
        Tile(
            label="Reconstruction",
            value=_value(facts["reconstruction_reduction"]),
            detail=f"of {_value(facts['features'])} values, {_value(facts['reconstruction'])}",
        ),
    )


def _facts(facts: AuditFacts) -> Facts:
    return Facts(pairs=tuple((_WORDS.get(name, name), _value(value)) for name, value in facts.items()))


def _value(value: float | int | str | None) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else number(value)
