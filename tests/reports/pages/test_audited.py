"""The page of an audit."""

import re
from pathlib import Path

from klsearch.reports.page import Code, Facts, Mark, Prose, Table
from klsearch.reports.pages.audited import audited_page
from klsearch.reports.report import write_audit
from klsearch.vae.diagnostics.audit.findings import Facts as AuditFacts
from klsearch.vae.diagnostics.audit.findings import Finding

FACTS: AuditFacts = {
    "latent_dim": 4,
    "features": 64,
    "kl_weight": 0.2,
    "kl_reduction": "mean",
    "reconstruction": "squared error",
    "reconstruction_reduction": "sum",
    "reconstruction_weight": 1.0,
    "kl_pull": 0.05,
    "beta_effective": None,
}
FINDINGS = (
    Finding("noise_unused", "With the noise drawn anew the loss stayed 12.5."),
    Finding("l2_inactive", "With an L2 of 1 on <z_mean> the loss stayed 12.5."),
)


def test_a_finding_is_a_line_of_what_was_seen_and_how_to_mend_it() -> None:
    page = audited_page(FINDINGS, FACTS, "[study]\n", "my_vae:make")
    assert (page.banner.word, page.banner.tone) == ("2 findings", "bad")
    assert page.banner.sentence.startswith("With the noise drawn anew the loss stayed 12.5. First: decode z_mean + ")
    (table,) = page.sections[0].blocks
    assert isinstance(table, Table)
    (noise, seen, mend), (l2, *_) = table.rows
    assert isinstance(noise, Mark)
    assert isinstance(l2, Mark)
    assert (noise.text, l2.text) == ("noise unused", "l2 inactive")
    assert seen == "With the noise drawn anew the loss stayed 12.5."
    assert str(mend).startswith("Decode z_mean + exp(0.5 · z_log_var) · noise in train_step, with noise = ")


def test_what_it_trains_on_is_told_in_words_and_what_is_not_known_is_a_dash() -> None:
    page = audited_page((), FACTS, "", "my_vae:make")
    assert (page.banner.word, page.banner.tone) == ("No finding", "good")
    (facts,) = page.sections[1].blocks
    assert isinstance(facts, Facts)
    told = dict(facts.pairs)
    assert (told["latents, d"], told["KL over latents"]) == ("4", "mean")
    assert told["β, nats of KL that weigh as much as one of reconstruction"] == "–"
    assert [tile.value for tile in page.banner.tiles] == ["–", "mean", "sum"]


def test_it_ends_with_the_definition_or_with_how_to_get_one() -> None:
    *_, code = audited_page((), FACTS, "[study]\nname = 'a'\n", "my_vae:make").sections[-1].blocks
    assert isinstance(code, Code)
    assert code.text == "[study]\nname = 'a'\n"
    (prose,) = audited_page((), FACTS, "", "my_vae:make").sections[-1].blocks
    assert isinstance(prose, Prose)
    assert prose.text.startswith("Name a function that gives the model alone")


def test_it_is_written_as_a_page_that_loads_nothing(tmp_path: Path) -> None:
    path = write_audit(FINDINGS, FACTS, tmp_path / "audit.html", definition="[study]\n", name="my_vae:make")
    html = path.read_text(encoding="utf-8")
    assert "&lt;z_mean&gt;" in html
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert "prefers-color-scheme" in html
