"""Commands on a model and a training that are the user's own: diagnose.

Heavy libraries load inside the commands.
"""

from pathlib import Path

import click

from klsearch.search.commands.options import json_option
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
    Keras `History.history`) or JSON lines.
    """
    from klsearch.search.commands.documents import as_text, diagnosis_document
    from klsearch.search.commands.text import diagnosis_text
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
    click.echo(as_text(diagnosis_document(found)) if as_json else diagnosis_text(found))
