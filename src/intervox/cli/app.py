"""The command line: its commands, and what becomes of errors."""

import errno
import gc
import os
import sys

import typer

from intervox.cli.corpus import corpus_app
from intervox.cli.doctor import assets, backbones, doctor, engines
from intervox.cli.results import compare, demo, export, tables, trials
from intervox.cli.run import adapt, evaluate, extract, ingredients, refine, run, sweep, synth
from intervox.cli.speakers import enrol, verify
from intervox.cli.use import embed, spot
from intervox.errors import IntervoxError

app = typer.Typer(
    name="intervox",
    help="Separate who speaks from what is said in a speech foundation model's embedding.",
    epilog="Start with: intervox run quickstart",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    *(embed, verify, enrol, spot, export, demo),
    *(run, synth, extract, refine, evaluate, adapt, sweep, ingredients),
    *(compare, tables, trials),
    *(backbones, engines, assets, doctor),
):
    app.command()(command)
app.add_typer(corpus_app, name="corpus")

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; user errors become one sentence and exit code 2."""
    # Clips of every length make oneDNN keep a compiled kernel a shape: hundreds of megabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    # Imports make objects by the hundred thousand and next to no garbage: looking for it every few
    # hundred objects is a seventh of what a command on two clips takes.
    gc.set_threshold(100_000)
    try:
        app(prog_name="intervox")
    except IntervoxError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        mend = "free some space" if error.errno == errno.ENOSPC else "give another path or mend this one"
        print(f"error: {error.filename or 'the disk'}: {error.strerror}; {mend}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as leaving:
        # Typer turns an interrupt into a bare exit code.
        if leaving.code == _INTERRUPTED:
            print("interrupted: a run goes on from here with the same command", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
