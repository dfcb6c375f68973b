"""The commands ``intervox corpus …``: look at a corpus before anything is trained on it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from intervox.cli.common import JsonOption, RecipeArgument, WorkersOption, help_without_command, show_found

corpus_app = typer.Typer(
    help="Look at a corpus before anything is trained on it: check it, listen to it.",
    rich_markup_mode=None,
)
corpus_app.callback(invoke_without_command=True)(help_without_command)

CorpusArgument = Annotated[
    Path, typer.Argument(help="A corpus folder (with audio/*.parquet), or a run folder with one in corpus/.")
]


@corpus_app.command()
def plan(recipe: RecipeArgument, workers: WorkersOption = None, as_json: JsonOption = False) -> None:
    """Print a recipe's design and what it will cost, before anything is made.

    A few cells of every engine are rendered to see how long they take; nothing is written.
    """
    from intervox.corpus.cost import check_corpus_fits, plan_corpus, plan_table
    from intervox.evaluation.protocols import check_protocols_are_kept
    from intervox.parallel import default_workers
    from intervox.recipe import load_recipe

    loaded = load_recipe(recipe)
    check_corpus_fits(loaded.corpus)
    check_protocols_are_kept(loaded)
    found = plan_corpus(loaded.corpus, loaded.seed, workers or default_workers())
    show_found(found, [plan_table(loaded.name, found)], as_json)


@corpus_app.command()
def manifest(
    protocol: Annotated[str, typer.Argument(help="An evaluation set, by its name in `intervox doctor`.")],
    out: Annotated[Path, typer.Argument(help="The .csv file to write.")],
) -> None:
    """Write the manifest of a known human corpus, for the recordings engine or a tool of your own."""
    from intervox.clips.manifest import write_manifest
    from intervox.evaluation.protocols import find_protocols

    rows = find_protocols((protocol,))[0].rows
    write_manifest(out, rows)
    typer.echo(f"{len(rows):,} recordings in {out}")


@corpus_app.command()
def check(
    folder: CorpusArgument = Path("runs/quickstart"),
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a corpus is whole and that its labels hold what training assumes.

    Reads every shard and decodes every clip: damaged or missing files, silence, wrong sample rates,
    blocks that are not fully crossed, splits that share a speaker, voice or text, the same clip
    under two labels, rejected cells with their reasons, and how even the design is.

    Works on a corpus of Intervox, one edited by hand, or one of another tool: it needs
    audio/*.parquet with cell_id, block, split, speaker, content and audio.

    Exit code 0: nothing wrong (there may be warnings). 2: errors, each with its remedy.
    """
    from intervox.clips.corpus import find_corpus
    from intervox.corpus.inspect.check import check_corpus
    from intervox.corpus.inspect.check_clips import findings_table, has_errors

    corpus = find_corpus(folder)
    findings = check_corpus(corpus, workers)
    show_found(findings, [findings_table(f"Corpus {corpus}", findings)], as_json)
    if has_errors(findings):
        raise typer.Exit(2)


@corpus_app.command()
def show(
    folder: CorpusArgument = Path("runs/quickstart"),
    block: Annotated[
        list[int] | None,
        typer.Option(
            "--block",
            "-b",
            min=0,
            max=1_000_000,
            help="Number of a block; repeat it for more.",
            show_default="the first",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page.", show_default="FOLDER/corpus.html")
    ] = None,
) -> None:
    """Write a page on which a block is listened to as the grid that it is.

    Rows are speakers, columns are texts; each clip has its spectrogram, its condition and its
    quality, and rows and columns play in sequence. One HTML file that needs nothing else.
    """
    from intervox.clips.corpus import find_corpus
    from intervox.corpus.inspect.show import write_corpus_page

    page = out or folder / "corpus.html"
    write_corpus_page(find_corpus(folder), page, block or [])
    typer.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB): open it in a browser")


@corpus_app.command()
def card(folder: CorpusArgument = Path("runs/quickstart")) -> None:
    """Write README.md, the dataset card that the Hugging Face hub shows, into the corpus folder."""
    from intervox.clips.corpus import find_corpus
    from intervox.corpus.inspect.card import corpus_card
    from intervox.storage import CARD, write_bytes

    corpus = find_corpus(folder)
    write_bytes(corpus / CARD, corpus_card(corpus).encode())
    typer.echo(f"{corpus / CARD}")


@corpus_app.command()
def coverage(
    recipe: RecipeArgument = "quickstart",
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
) -> None:
    """Measure which sounds a recipe's texts cover, language by language, and how long they are.

    Shares are of the phonemes, and pairs of them, in the language's built-in lexicon.
    """
    from intervox.corpus.inspect.coverage import coverage as measure
    from intervox.corpus.inspect.coverage import coverage_table
    from intervox.corpus.plan.texts import texts
    from intervox.engines.base import load_engine
    from intervox.recipe import load_recipe
    from intervox.recipe.engines import ON_RECORD
    from intervox.tables import markdown

    read = load_recipe(recipe)
    engines = [engine for engine in read.corpus.engines if engine.name not in ON_RECORD]
    spoken = [voice.language for engine in engines for voice in load_engine(engine).voices()]
    found = measure(texts(read.corpus.texts, spoken, read.seed))
    listed = [coverage_table(found)]
    if as_markdown and not as_json:
        typer.echo(markdown(listed))
    else:
        show_found({name: one.as_json() for name, one in found.items()}, listed, as_json)


@corpus_app.command()
def languages(as_json: JsonOption = False) -> None:
    """List the languages that have built-in texts, and all that espeak speaks texts of your own in."""
    from intervox.corpus.plan.lexicon import lexicon_languages
    from intervox.engines.espeak import EspeakEngine
    from intervox.recipe.engines import EspeakSettings

    listed = {"texts": lexicon_languages(), "espeak": EspeakEngine(EspeakSettings()).languages()}
    if as_json:
        typer.echo(json.dumps(listed))
        return
    typer.echo(f"with built-in texts: {', '.join(listed['texts'])}")
    typer.echo(f"spoken by espeak:    {', '.join(listed['espeak'])}")
