"""The command line: ``licensing-harness gate | drill | explore | serve | check | replay | prove | ...``.

Every command returns an exit code of ``licensing_harness.verdict.Exit``. An
error of the user's or of the run is one line on stderr, never a traceback.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Optional

import typer

from licensing_harness import __version__
from licensing_harness.errors import HarnessError, NotRun
from licensing_harness.options import BY_NAME, OPTIONS, Option
from licensing_harness.verdict import Exit

_TYPES: Final[dict[str, Any]] = {
    "text": Optional[str],  # noqa: UP045 - Typer reads it at run time
    "number": Optional[int],  # noqa: UP045
    "switch": Optional[bool],  # noqa: UP045
    "list": Optional[list[str]],  # noqa: UP045
}
_EXTRA: Final = {"allow_extra_args": True, "allow_interspersed_args": True}

app = typer.Typer(
    name="licensing-harness",
    help="Chaos tests for software licensing: drive a target, record it, judge it, gate the release.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _with_options(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the named options of the table, collected in its ``given`` argument."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        options = [BY_NAME[name] for name in names]
        own = inspect.signature(command, eval_str=True).parameters

        def run(**values: Any) -> int:
            given = {option.key: values.pop(option.key) for option in options}
            return command(given=given, **values)

        parameters = [each for each in own.values() if each.name != "given"]
        parameters += [_parameter(option) for option in options]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    shown = option.help + (f" [dim](default: {option.default})[/dim]" if option.default else "")
    flags = [f"--{option.name}"] if option.kind != "switch" else [f"--{option.name}/--no-{option.name}"]
    info = typer.Option(*flags, help=shown, metavar=option.metavar or None, show_default=False)
    return inspect.Parameter(
        option.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_TYPES[option.kind], info],
    )


def _command(module: str, function: str = "run") -> Callable[..., int]:
    return getattr(importlib.import_module(f"licensing_harness.commands.{module}"), function)  # type: ignore[no-any-return]


def _show_version(value: bool) -> None:  # noqa: FBT001 - Typer calls it
    if value:
        typer.echo(f"licensing-harness {__version__}")
        raise typer.Exit


@app.callback()
def licensing_harness(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Chaos tests for software licensing: drive a target, record it, judge it, gate the release."""


@app.command(context_settings=_EXTRA)
@_with_options(*(option.name for option in OPTIONS))
def gate(
    context: typer.Context,
    given: dict[str, Any],
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show pytest's own output.")] = False,
) -> int:
    """Judge a licensing system: run the scenarios, show what broke, and exit with the verdict.

    Without a target the reference server is judged. What follows [bold]--[/bold] goes to pytest.

    [bold]Examples[/bold]

      licensing-harness gate

      licensing-harness gate --target https://licences.example.com --adapter lockbox_adapter:Lockbox
      --allow-host licences.example.com

      licensing-harness gate --only seats --depth nightly -- -n 2

      licensing-harness gate --defect seats-race
    """
    return _command("gate")(given, list(context.args), verbose=verbose)


@app.command()
@_with_options(
    "target",
    "adapter",
    "control",
    "world",
    "faults",
    "store",
    "allow-host",
    "max-requests",
    "report",
    "seed",
    "defect",
    "keep",
)
def drill(
    given: dict[str, Any],
    *,
    name: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads it at run time
        typer.Argument(help="A drill's TOML file, or the name of one that comes with the harness.", metavar="DRILL"),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the drills that come with the harness.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the drill and show it; nothing is sent.")] = False,
) -> int:
    """Rehearse an outage: a load, faults on a schedule, what is expected before, during and after.

    Every fault is removed at the end, whatever happens, and that is verified.

    [bold]Examples[/bold]

      licensing-harness drill --list

      licensing-harness drill answers-lost-during-activation

      licensing-harness drill our-outage.toml --target http://127.0.0.1:8080 --adapter lockbox_adapter:Lockbox

      licensing-harness drill our-outage.toml --dry-run
    """
    return _command("drill")(given, name=name, listing=listing, dry_run=dry_run)


@app.command(context_settings={**_EXTRA, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    *,
    port: Annotated[int, typer.Option(help="The port; 0 for any free one.")] = 8021,
    host: Annotated[str, typer.Option(help="The address to bind to.")] = "127.0.0.1",
    db: Annotated[str, typer.Option(help="An SQLite file or a postgresql:// URL.")] = ".licensing/reference.db",
) -> int:
    """Run the reference licensing server in the foreground, until Ctrl-C.

    Further options go to [bold]python -m reference_server[/bold]. The first line of output is JSON:
    the address, and the first API token when it was just made.

    [bold]Examples[/bold]

      licensing-harness serve

      licensing-harness serve --port 0 --db /tmp/licences.db --lease 60 --defect seats-race
    """
    return _command("serve")(host=host, port=port, db=db, extra=list(context.args))


@app.command()
def proxy(
    *,
    port: Annotated[int, typer.Option(help="The port of the API; 0 for any free one.", min=0, max=65535)] = 8474,
    host: Annotated[str, typer.Option(help="The loopback address to bind to.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Decides on which connections a toxic falls, and its jitter.")] = 0,
) -> int:
    """Run the embedded fault proxy alone in the foreground, until Ctrl-C.

    It speaks the HTTP API of Toxiproxy 2.12, and listens on loopback addresses only.
    The first line of output is the address of the API.

    [bold]Examples[/bold]

      licensing-harness proxy

      licensing-harness proxy --port 0 --seed 7
    """
    return _command("proxy")(host=host, port=port, seed=seed)


@app.command()
def check(
    history: Annotated[Path, typer.Argument(help="A history.jsonl, or a run directory.", metavar="HISTORY")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print result.json instead of the screen.")] = False,
) -> int:
    """Judge a stored history again, by the code that judged it when it ran. Nothing is sent.

    [bold]Examples[/bold]

      licensing-harness check .licensing/runs/latest/history.jsonl

      licensing-harness check .licensing/runs/latest --json
    """
    return _command("check")(history, as_json=json)


@app.command()
@_with_options("target", "adapter", "control", "store", "allow-host", "max-requests", "report", "defect", "keep")
def replay(
    case: Annotated[str, typer.Argument(help="A case's id, or its file.", metavar="ID|FILE")],
    given: dict[str, Any],
    *,
    rounds: Annotated[int, typer.Option(help="How often a live case is tried.", min=1)] = 20,
) -> int:
    """Run a broken promise's case again. Exit 1 when it breaks again, 0 when the promise held.

    A simulated case runs once: it is the same every time. A live one runs on fresh starts until it
    shows again, at most 20 times; how often it did is printed as [bold]k of n[/bold].

    [bold]Examples[/bold]

      licensing-harness replay SEA-001-9c41

      licensing-harness replay .licensing/runs/latest/cases/SEA-001-9c41.json --rounds 5
    """
    return _command("replay")(case, given, rounds=rounds)


@app.command()
@_with_options("target", "adapter", "seed", "report", "defect", "only")
def explore(
    given: dict[str, Any],
    *,
    seeds: Annotated[int, typer.Option(help="How many seeds, counted up from the first.", min=1)] = 1000,
    jobs: Annotated[int, typer.Option(help="How many processes; 0 is one for each core.", min=0)] = 0,
    steps: Annotated[int, typer.Option(help="How long each story is.", min=1)] = 40,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Tell every seed twice, not one in fifty: exit 3 when it differs.")
    ] = False,
    calm: Annotated[bool, typer.Option("--calm", help="Tell stories without faults, for comparison.")] = False,
    without: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time
        typer.Option(help="A kind of fault that stories do without (may be repeated).", metavar="KIND"),
    ] = None,
) -> int:
    """Tell many generated stories in the simulated world, on all cores, until a promise breaks.

    Each seed is a story of its own, with its operations and its faults. The first that breaks a promise is made
    as small as it gets, and left as a case to replay. Exit 0 only if everything that there is to try was tried,
    else 10.

    [bold]Examples[/bold]

      licensing-harness explore

      licensing-harness explore --seeds 100000 --jobs 8

      licensing-harness explore --seed 7 --seeds 200 --defect lease-never-ends
    """
    return _command("explore")(
        given, seeds=seeds, jobs=jobs, steps=steps, self_check=self_check, calm=calm, without=without or []
    )


@app.command()
def prove(
    *,
    defect: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time
        typer.Option(help="Only these defects (may be repeated).", metavar="NAME"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds the clean server runs under; 0 skips it.", min=0)] = 200,
    jobs: Annotated[int, typer.Option(help="How many run side by side.", min=1)] = 2,
    depth: Annotated[str, typer.Option(help="smoke, ci or nightly: how long each defect is hunted.")] = "ci",
) -> int:
    """Prove the harness: every planted defect is found, and the clean server is not accused.

    Prints the matrix defect x promise and writes [bold].licensing/prove.json[/bold].
    Exit 1 when a defect survives or the clean server is accused.

    [bold]Examples[/bold]

      licensing-harness prove

      licensing-harness prove --defect seats-race --seeds 0
    """
    return _command("prove")(names=defect or [], seeds=seeds, jobs=jobs, depth=depth)


@app.command()
@_with_options(*(option.name for option in OPTIONS))
def doctor(given: dict[str, Any]) -> int:
    """Show what is installed, every setting with its source, and whether the adapter is in order.

    [bold]Examples[/bold]

      licensing-harness doctor

      licensing-harness doctor --adapter lockbox_adapter:Lockbox --target http://127.0.0.1:8021
    """
    return _command("doctor")(given)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write.", metavar="[DIR]")] = Path(),
) -> int:
    """Write what a project needs: an adapter, a one-line test file, the settings and a CI workflow.

    Nothing is overwritten. What it wrote runs at once against the reference server.

    [bold]Examples[/bold]

      licensing-harness init

      licensing-harness init licensing-tests
    """
    return _command("init")(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process."""
    sys.exit(_main(list(sys.argv[1:] if arguments is None else arguments)))


def _main(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="licensing-harness", standalone_mode=False)
    except HarnessError as error:
        return _fail(str(error), error.exit_code)
    except NotRun as reason:
        return _fail(f"not run: {reason}", Exit.UNDECIDED)
    except typer.TyperException as error:
        said = error.format_message()
        if not said:  # no command at all: the help was shown
            return Exit.USAGE
        stop = "" if said.endswith((".", "?")) else "."
        return _fail(f"{said}{stop} See: licensing-harness {_asked(arguments)}--help", Exit.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", Exit.INTERRUPTED)
    # Typer turns Ctrl-C into 130; our code for it is pytest's.
    return int(Exit.INTERRUPTED) if code == 130 else int(code or 0)  # noqa: PLR2004


def _asked(arguments: list[str]) -> str:
    names = {command.callback.__name__ for command in app.registered_commands if command.callback} | {
        str(command.name) for command in app.registered_commands
    }
    return next((f"{each} " for each in arguments if each in names), "")


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"ERROR: {message}\n")
    return int(code)
