"""What commands share: options and arguments, what their values mean and how the shell completes them; printing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from klsearch.studies.errors import UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_STABLE, EXIT_INTERRUPTED = 1, 2, 3, 130


_PAGE_OF_OURS = b'<meta name="generator" content="klsearch">'
_Command = TypeVar("_Command", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Bash types a completion in as it is; these mean themselves in every shell. It quotes its own folders, of any name.
_TYPED_AS_IT_IS = re.compile(r"[\w/+%][\w./+%-]*")


class Duration(click.ParamType[float]):
    """A time such as 90, 90s, 10m or 1h30m, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a time; write it as 90s, 10m or 1h30m.", param, ctx)
        return float(sum(float(number) * _UNITS[unit or "s"] for number, unit in parts))


class Slots(click.ParamType[int | str | None]):
    """A number of members, "auto" or "measure"."""

    name = "auto|measure|K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str | None:
        """The number or "measure"; None for "auto"."""
        if value in (None, "auto"):
            return None
        if value == "measure":
            return "measure"
        try:
            slots = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither 'auto', 'measure' nor a number.", param, ctx)
        if not 1 <= slots <= 1024:
            self.fail(f"{slots} is not between 1 and 1024.", param, ctx)
        return slots


def check_page(output: Path | None, example: str) -> None:
    """Refuse a file to write a page to if it is something else than a page of ours, which may be renewed."""
    if output is not None and output.is_symlink():
        raise UsageError(f"{output} is a link, so it is not replaced; name another file.")
    if output is None or not output.exists():
        return
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it, say {output / example}.")
    if not output.is_file() or _PAGE_OF_OURS not in output.read_bytes():
        raise UsageError(f"{output} is not a page that klsearch wrote, so it is not overwritten; name another file.")


def studies_beginning_with(ctx: click.Context, param: click.Parameter, text: str) -> list[CompletionItem]:
    """The built-in studies, and the shell's own files."""
    from klsearch.studies.definitions.catalog import builtin_studies

    del ctx, param
    names = [CompletionItem(name) for name in builtin_studies() if name.startswith(text)]
    return [CompletionItem(text, type="file"), *names]  # the shell's own first: bash drops what came before them


def runs_beginning_with(ctx: click.Context, param: click.Parameter, text: str) -> list[CompletionItem]:
    """The run folders below runs/ whose names no shell could take for a command, and the shell's own folders."""
    del ctx, param
    folders = sorted(str(about.parent) for about in Path("runs").glob("*/run.json"))
    safe = [folder for folder in folders if folder.startswith(text) and _TYPED_AS_IT_IS.fullmatch(folder)]
    return [CompletionItem(text, type="dir"), *map(CompletionItem, safe)]


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


storage_options = _options(
    click.option(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, journal:///FILE or postgresql+psycopg://…; default: KLSEARCH_STORAGE or the run folder.",
    ),
    click.option("--study", metavar="NAME", help="The study's name in the storage; default: the definition's."),
)
named_storage_option = click.option("--storage", metavar="URL", help="Where it is; RUN is then the study's name.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
run_argument = click.argument("run", required=False, shell_complete=runs_beginning_with)
study_argument = click.argument("study_or_file", metavar="STUDY", shell_complete=studies_beginning_with)
timeout_option = click.option(
    "--timeout", type=Duration(), help="Stop after this time, say 10m; what was trained is kept."
)
result_options = _options(
    click.option("--require-stable", is_flag=True, help="Exit with 3 unless it is stable, with or without caveats."),
    click.option("--quiet", is_flag=True, help="Print nothing but errors and the result."),
    click.option("--no-progress", is_flag=True, help="Plain lines instead of a live display."),
    json_option,
)
training_options = _options(
    click.option("--trials", type=click.IntRange(1), metavar="N", help="Finished trials in the study in all."),
    timeout_option,
    click.option("--slots", type=Slots(), default="auto", show_default=True, help="Trials trained at a time."),
    click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that search."),
    click.option("--backend", type=click.Choice(["loky", "dask"]), default="loky", help="Where they run."),
    click.option("--scheduler", metavar="ADDRESS", help="The Dask cluster's, say tcp://host:8786."),
    storage_options,
    click.option("--until-converged", is_flag=True, help="Stop before --trials once more search no longer pays."),
    click.option("--no-confirm", is_flag=True, help="Do not retrain the leading trials on fresh seeds."),
    result_options,
)
