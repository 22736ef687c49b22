"""Commands on a model and a training that are the user's own: audit, diagnose.

Heavy libraries load inside the commands.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from klsearch.search.commands.options import check_page, json_option
from klsearch.search.terminal.printing import echo, show
from klsearch.studies.errors import UsageError


@click.command(short_help="Whether the KL of a training of yours is well.")
@click.argument("history", type=click.Path(path_type=Path), metavar="HISTORY")
@click.option("--latent-dim", type=click.IntRange(1), metavar="D", help="The number of latents.")
@click.option("--kl-reduction", type=click.Choice(["sum", "mean"]), help="Over latents; default with D: sum.")
@click.option("--kl", metavar="COLUMN", help="The column of the KL term, where its name does not tell.")
@click.option("--reconstruction", metavar="COLUMN", help="The column of the reconstruction error.")
@click.option("--kl-weight", metavar="COLUMN", help="The column of the KL weight.")
@json_option
def diagnose(
    history: Path,
    latent_dim: int | None,
    kl_reduction: str | None,
    kl: str | None,
    reconstruction: str | None,
    kl_weight: str | None,
    as_json: bool,
) -> None:
    """Say whether the KL in HISTORY is normal, settled, running away or collapsed.

    HISTORY is a training's table with a row per epoch, finished or still written to: CSV (Keras's CSVLogger), JSON (a
    Keras `History.history`) or JSON lines; or the folder that Keras's TensorBoard callback writes to.
    """
    from klsearch.search.commands.documents import as_text, diagnosis_document
    from klsearch.search.commands.text import diagnosis_text
    from klsearch.studies.definitions.present import define_diagnosed
    from klsearch.vae.diagnostics.diagnosis import diagnose as judge
    from klsearch.vae.diagnostics.histories import HistoryProblem, read_history

    if kl_reduction == "sum" and latent_dim is None:
        raise UsageError("--kl-reduction sum needs --latent-dim D, the number of latents that KL is a sum over.")
    given = {"kl": kl, "reconstruction": reconstruction, "kl_weight": kl_weight}
    try:
        found = judge(read_history(history, given), latent_dim=latent_dim, kl_reduction=kl_reduction)
    except HistoryProblem as problem:
        raise UsageError(str(problem)) from problem
    except OSError as problem:
        raise UsageError(f"{history}: cannot be read: {problem.strerror or problem}") from problem
    definition = define_diagnosed(found, name=history.stem, latent_dim=latent_dim, kl_reduction=kl_reduction)
    if as_json:
        echo(as_text(diagnosis_document(found, definition)))
    else:
        show(diagnosis_text(found, definition))


def networks_of(model: Any) -> tuple[Any, Any] | None:
    """Its encoder and decoder, found among attributes and layers as `check` finds them; None if there are not these."""
    from klsearch.vae.networks.own.pairs import pair_in

    try:
        pair = pair_in(model)
    except ValueError:
        return None
    return pair.encoder, pair.decoder


@click.command(short_help="Which settings of a Keras VAE of yours have no effect.")
@click.argument("make", metavar="MODULE:MAKE")
@click.option("--data", "source", required=True, metavar="SOURCE", help="Its data, as `[data] source` names them.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page, as HTML.")
@json_option
def audit(make: str, source: str, output: Path | None, as_json: bool) -> None:
    """Find out by experiment which settings of your own VAE have no effect, and which reductions it trains with.

    MAKE() gives a compiled Keras model with encoder, decoder and a train_step, or a pair of that and the callback, or
    a list of those, that set its KL weight. Nothing is trained: the model stays as MAKE made it.
    """
    from klsearch.search.commands.documents import as_text, audit_document
    from klsearch.search.commands.text import audit_text
    from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
    from klsearch.studies.definitions.present import define_audited
    from klsearch.vae.data.datasets import load_dataset
    from klsearch.vae.data.readers.raw import DataProblem, Request
    from klsearch.vae.host.own_code import CodeProblem, is_function, load_function, with_line

    if not is_function(make):
        raise UsageError(f"'{make}' is not written as package.module:function, which makes the compiled model.")
    check_page(output, "audit.html")
    take_this_process()
    here = Path.cwd()
    try:
        dataset = load_dataset(Request(source=source, folder=here))
        load_tensorflow()
        from klsearch.vae.diagnostics.audit.audit import audit_model
        from klsearch.vae.diagnostics.audit.laboratory import AuditProblem

        with contextlib.redirect_stdout(sys.stderr):  # what their own code prints
            try:
                made = load_function(make, here)()
            except CodeProblem as problem:
                raise UsageError(str(problem)) from problem
            except Exception as error:
                raise UsageError(f"{make}: {with_line(error, here)}") from error
            model, callbacks = made if isinstance(made, tuple) and len(made) == 2 else (made, ())
            if not isinstance(callbacks, list | tuple):
                callbacks = (callbacks,)
            try:
                found = audit_model(model, dataset.train, callbacks, networks_of(model))
            except AuditProblem as problem:
                raise UsageError(f"{make}: {problem}") from problem
    except DataProblem as problem:
        raise UsageError(str(problem)) from problem
    # A study takes models alone.
    definition = "" if isinstance(made, tuple) else define_audited(make, source, dataset, found.facts)
    if output is not None:
        from klsearch.reports.report import write_audit

        write_audit(found.findings, found.facts, output, definition=definition, name=make)
    if as_json:
        echo(as_text(audit_document(found, definition)))
    else:
        show(audit_text(found, definition))
