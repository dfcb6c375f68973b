"""A run's folder: what is kept in it where, and how it is opened."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.evaluation.results import INGREDIENTS, LIKE_FOR_LIKE, PAPER, SWEEP
from intervox.locks import in_turn
from intervox.parallel import Pool, give_back_memory
from intervox.recipe import Recipe, dump_recipe, load_recipe, read_yaml
from intervox.storage import read_json, write_bytes

if TYPE_CHECKING:
    from intervox.backbones.base import Backbone
    from intervox.evaluation.loading import Source
    from intervox.evaluation.test_sets import TestSet
    from intervox.features.encoding import Encoder
    from intervox.features.store import Features
    from intervox.features.waves import Waves

SWEEP_PLOT = "sweep.svg"
PAPER_TABLES = {"markdown": "paper.md", "latex": "paper.tex", "csv": "paper.csv"}
"""Format to the file that has the paper's tables in it."""


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to.

    Attributes
    ----------
    recipe
        What to do.
    folder
        ``corpus/``, ``features/``, ``model/``, ``metrics.json``, ``report.html`` and ``log.jsonl``
        are written here.
    pool
        Where synthesis runs, and on Ray what is encoded; its workers also share the measuring.
    """

    recipe: Recipe
    folder: Path
    pool: Pool = field(default_factory=Pool)

    def features_folder(self, fingerprint: str) -> Path:
        """Where the features of a backbone with this fingerprint are cached."""
        return self.folder / "features" / fingerprint

    @property
    def waves_folder(self) -> Path:
        """Where the corpus' audio is kept for training at depth ``blocks``."""
        return self.folder / "features" / "waves"


def open_run(source: str | Path, folder: Path | None = None, pool: Pool | None = None) -> Run:
    """Read a recipe and write it, with every default spelled out, into the run's folder.

    Parameters
    ----------
    source
        Name of a built-in recipe or path of a YAML file.
    folder
        By default ``runs/<recipe name>``.
    """
    from intervox.reporting.results import forget_results

    recipe = load_recipe(source)
    run = Run(recipe, folder or Path("runs") / recipe.name, pool or Pool())
    if run.folder.exists() and not run.folder.is_dir():
        raise IntervoxError(f"{run.folder} is a file: give another path, for the folder of a run")
    written = run.folder / "recipe.yaml"
    text = dump_recipe(recipe).encode()
    before = written.read_bytes() if written.exists() else b""
    if before != text:
        # Results of another recipe must not lie beside this one as if they were its own.
        for name in (SWEEP, SWEEP_PLOT):
            (run.folder / name).unlink(missing_ok=True)
        if _but_for_its_sweep(before) != _but_for_its_sweep(text):
            forget_results(run.folder)
            for name in (INGREDIENTS, PAPER, *PAPER_TABLES.values(), LIKE_FOR_LIKE):
                (run.folder / name).unlink(missing_ok=True)
        write_bytes(written, text)
    return run


def _but_for_its_sweep(text: bytes) -> object:
    """Read a written recipe without what only `sweep` reads; None if it can't be read."""
    with suppress(UnicodeDecodeError, yaml.YAMLError):
        found = read_yaml(text.decode())
        return {key: found[key] for key in found if key != "sweep"} if isinstance(found, dict) else None
    return None


def open_corpus(run: Run) -> Corpus:
    """Open the run's corpus, if it is that of the recipe."""
    from intervox.corpus.render.synthesis import corpus_key

    corpus = Corpus(run.folder / "corpus")
    if corpus.key != corpus_key(run.recipe.corpus, run.recipe.seed):
        raise IntervoxError(f"{corpus.folder} was made by another recipe: run `intervox synth` first")
    return corpus


def open_features(run: Run) -> tuple[Corpus, "Features"]:
    """Open the run's corpus and the features of just this corpus and the recipe's backbone."""
    from intervox.features.store import Features

    corpus = open_corpus(run)
    current = run.folder / "features" / "current.json"
    if not current.exists():
        raise IntervoxError(f"{run.folder / 'features'} is empty: run `intervox extract` first")
    features = Features(run.features_folder(read_json(current)["fingerprint"]) / "corpus")
    found = [features.about[name] for name in ("source", "backbone", "window_seconds")]
    if found != [corpus.key, run.recipe.backbone, run.recipe.features.window_seconds]:
        raise IntervoxError(
            f"{run.folder / 'features'} are of another corpus or backbone: run `intervox extract` first"
        )
    if run.recipe.training.depth == "frames" and not features.has_frames:
        raise IntervoxError(
            f"{run.folder / 'features'} lack the frames that the recipe reads: run `intervox extract` first"
        )
    return corpus, features


def extracted(run: Run, corpus: Corpus, backbone: "Backbone", frames: bool) -> "Features":
    """Cache what a backbone makes of the corpus, or read it from an earlier call."""
    from intervox.features.extraction import extract

    folder = run.features_folder(backbone.fingerprint) / "corpus"
    return extract(corpus, backbone, run.recipe.features, folder, "extracting", frames, run.pool)


def open_waves(run: Run, corpus: Corpus) -> "Waves | None":
    """Open the corpus' audio where the recipe trains from it."""
    from intervox.features.waves import Waves

    return Waves.of(corpus, run.waves_folder) if run.recipe.training.depth == "blocks" else None


def open_test_sets(
    run: Run,
    backbone: "Backbone | None",
    frames: bool,
    own: "Source | None",
    peers: "Sequence[Encoder]" = (),
) -> "list[TestSet]":
    """Extract what is evaluated: held-out cells where there are any, then the protocols.

    Parameters
    ----------
    backbone
        That of the measured model; without, it is the recipe's.
    frames
        Whether the model looks at every frame.
    """
    from intervox.backbones.load import load_backbone
    from intervox.evaluation.loading import load_test_sets, sources
    from intervox.evaluation.protocols import find_protocols
    from intervox.evaluation.representations import BACKBONE, FROZEN

    recipe, settings = run.recipe, run.recipe.evaluation
    frozen = load_backbone(recipe.backbone)
    encoders: dict[str, Backbone | Encoder] = {BACKBONE: backbone or frozen, FROZEN: frozen}
    encoders |= {peer.name: peer for peer in peers}
    found = [*([own] if own else []), *sources(find_protocols(settings.protocols, settings.max_clips))]
    features = run.folder / "features"
    return load_test_sets(found, encoders, settings, recipe.features, features, frames, run.pool)


@contextmanager
def logged(run: Run, step: str) -> Iterator[dict[str, Any]]:
    """Do a step while no other command writes into the run's folder, and log what it did.

    The memory that it freed is given back.
    """
    record: dict[str, Any] = {"step": step, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    begun = time.monotonic()
    # One of several processes of a training writes, and waits for other commands.
    writes = os.environ.get("RANK", "0") == "0"
    try:
        with in_turn(run.folder / ".lock", run.folder) if writes else nullcontext():
            yield record
    except BaseException as error:
        record["failed"] = type(error).__name__
        raise
    finally:
        record["seconds"] = round(time.monotonic() - begun, 1)
        give_back_memory()
        if writes:  # a log that can't be written must not hide why the step failed
            with suppress(OSError), (run.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
