"""The command line: the group of all commands, and how each outcome becomes a line and an exit code."""

import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from klsearch.reports.visible import as_lines
from klsearch.search.commands import audit, read, tools, train
from klsearch.search.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from klsearch.search.stopping import end_quietly
from klsearch.search.terminal.printing import echo, show
from klsearch.studies.errors import KlsearchError
from klsearch.vae.host.quiet import results_apart

_TEXTS = {"-h", "--help", "--version"}  # which are no documents, whatever stands beside them


class _Commands(click.Group):
    """The commands, none of which ends as if it were done because code of the user's own ended the process."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was given.

        Raises:
            KlsearchError: it was ended from within, by `sys.exit` in a layer, say.
        """
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            from klsearch.vae.host.own_code import with_line

            told = with_line(error, Path.cwd())
            raise KlsearchError(f"{told} ended the command, which code of your own must not.") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="klsearch", message="klsearch %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere.")
def cli(debug: bool) -> None:
    """Find the settings that keep a variational autoencoder's KL term in its band.

    Exit codes: 0 done, 1 failed, 2 wrong usage, definition or data, 3 not stable (with --require-stable),
    4 storage, 130 interrupted with everything saved.
    """
    del debug


for _command in (
    train.run,
    train.resume,
    train.confirm,
    read.status,
    read.best,
    read.trials,
    read.report,
    read.compare,
    tools.list_studies,
    tools.init,
    tools.check,
    tools.doctor,
    tools.export,
    tools.reproduce,
    tools.dashboard,
    tools.completion,
    audit.audit,
    audit.diagnose,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, is_document = "--debug" in given, "--json" in given and not _TEXTS & set(given)
    with results_apart(for_good=arguments is None) if is_document else nullcontext():
        try:
            return _run([argument for argument in given if argument != "--debug"], debug=debug)
        finally:
            if arguments is None:
                end_quietly()


def _run(given: list[str], *, debug: bool) -> int:
    """Run a command; the exit code."""
    as_json = "--json" in given
    try:
        status = cli.main(given, prog_name="klsearch", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "klsearch"
        told = " ".join(error.format_message().split())  # which may be a list, line by line
        return _fail([f"{told} See `{hint} --help`."], EXIT_USAGE, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return _fail(["interrupted."], EXIT_INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    except Exception as error:
        if debug:
            echo(traceback.format_exc(), err=True, nl=False)
        exit_code = error.exit_code if isinstance(error, KlsearchError) else EXIT_FAILED
        return _fail(_describe(error), exit_code, as_json=as_json)


def _describe(error: Exception) -> Sequence[str]:
    """Describe what went wrong, for the user, in lines."""
    if isinstance(error, KlsearchError):
        return error.lines
    if isinstance(error, OSError) and error.strerror:
        return [f"{error.filename}: {error.strerror}" if error.filename else error.strerror]
    if _lacks_memory(error):
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return [
            f"this process may take no more memory ({reason}). What was stored is kept: allow it more (`ulimit -v`, a "
            "container's limit) and give the same command again, or start a new study with fewer --slots."
        ]
    from klsearch.vae.host.own_code import one_line

    return [f"{one_line(error)} (an error in klsearch; `klsearch --debug …` shows where)"]


def _lacks_memory(error: Exception) -> bool:
    """Tell whether memory ran out: TensorFlow has an error of its own for it, a loader of libraries only words."""
    if isinstance(error, ImportError):
        return any(words in str(error) for words in ("failed to map segment", "annot allocate memory"))
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _fail(lines: Sequence[str], exit_code: int, *, as_json: bool) -> int:
    from klsearch.search.commands.documents import as_text, error_document

    if as_json:
        with suppress(OSError):  # standard output takes nothing any more
            echo(as_text(error_document("\n".join(lines), exit_code)))
            return exit_code
    show(as_lines(f"klsearch: {line}" for line in lines), err=True)
    return exit_code
