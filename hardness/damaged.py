"""Ten thousand damaged files of every kind that is read: each is read, or refused in one sentence.

Sounds are damaged as in ``tests/support/damage.py``; models, enrolments, manifests, recipes, vectors and
corpora here, in processes that are bounded in memory and time.
"""

import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tests.audio.test_fuzz_audio import has_encoder
from tests.support.damage import damaged
from tests.support.sounds import MEDIA_KINDS, SNDFILE_KINDS

from hardness.common import DONE, ROOT, SAID, Tally, environment, make_clips, make_run, scaled

SOUNDS, OTHERS = 500, 120
"""Of each kind."""

SECONDS, BYTES = 20.0, 2**31
"""Of a core, and of memory beside what Python and the libraries have: what a damaged file may take."""


def run(share: float, folder: Path) -> list[Tally]:
    """Damage files of each kind, each from its own seed."""
    sounds, others = Tally("damaged sounds"), {kind: Tally(f"damaged {kind}") for kind in KINDS}
    for kind in (*sorted(SNDFILE_KINDS), *filter(has_encoder, sorted(MEDIA_KINDS))):
        for line in _lines("tests.support.damage", kind, scaled(SOUNDS, share)):
            label = {"read": DONE, "refused": SAID}.get(str(line["outcome"]), f"wrong: {line['outcome']}")
            sounds.add(label, f"{kind}, seed {line['seed']}")
    prepare(folder)
    for kind, tally in others.items():
        for line in _lines("hardness.damaged", kind, scaled(OTHERS, share), str(folder)):
            tally.add(str(line["outcome"]), f"seed {line['seed']}")
    return [sounds, *others.values()]


def _lines(module: str, kind: str, count: int, *further: str) -> list[dict[str, Any]]:
    """Run a worker until all seeds are done; one that dies of a seed is followed by another."""
    found: list[dict[str, Any]] = []
    seed = 0
    while seed < count:
        words = [sys.executable, "-m", module, kind, str(seed), str(count - seed), *further]
        done = subprocess.run(
            words, cwd=ROOT, env=environment(), capture_output=True, text=True, errors="replace"
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found += [line for line in lines if "outcome" in line]
        if not done.returncode:
            break
        last = lines[-1]["seed"] if lines else seed
        reason = done.stderr.strip().splitlines()[-1:] or [""]
        found.append({"seed": last, "outcome": f"ends the process: {done.returncode} {reason[0]}"})
        seed = last + 1
    return found


def prepare(folder: Path) -> None:
    """Make one whole file of each kind, unless they are there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from intervox import SpeakerVerifier, load_model
    from intervox.interop.vectors import open_writer
    from intervox.model.files import default_model_folder

    home = folder / "whole"
    if (home / "recipe.yaml").exists():
        return
    clips = make_clips(home / "clips")
    shutil.copytree(default_model_folder(), home / "model", dirs_exist_ok=True)
    model = load_model()
    SpeakerVerifier(model).enrol("alice", clips[:2]).enrol("bob", clips[2:]).save(home / "people.safetensors")
    rows = [(str(path), f"speaker{number % 2}", "words") for number, path in enumerate(clips)]
    text = "path,speaker,content\n" + "".join(",".join(row) + "\n" for row in rows)
    (home / "manifest.csv").write_text(text)
    records = [dict(zip(("path", "speaker", "content"), row, strict=True)) for row in rows]
    (home / "manifest.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), home / "manifest.parquet")
    for suffix in (".npz", ".npy", ".jsonl", ".parquet", ".ark", ".txt"):
        with open_writer(home / f"vectors{suffix}", {"speaker": model.dims["speaker"]}) as writer:
            for path, vector in zip(clips, model.encode(clips)["speaker"], strict=True):
                writer.append(path.stem, {"speaker": vector})
    shutil.copytree(make_run(folder) / "corpus", home / "corpus", dirs_exist_ok=True)
    shutil.copy(make_run(folder) / "recipe.yaml", home / "recipe.yaml")


@cache
def _model() -> Any:
    from intervox import load_model

    return load_model()


def _encoded(path: Path) -> None:
    """Load a model's folder and use it."""
    from intervox import load_model

    vectors = load_model(path.parent).encode([np.sin(np.arange(16_000, dtype=np.float32))])
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise FloatingPointError("vectors that are not finite")


def _people(path: Path) -> None:
    from intervox import SpeakerVerifier

    verifier = SpeakerVerifier.load(path, _model())
    verifier.verify(np.sin(np.arange(16_000, dtype=np.float32)), str(verifier.classes_[0]))


def _manifest(path: Path) -> None:
    from intervox.clips.manifest import read_manifest

    read_manifest(path)


def _recipe(path: Path) -> None:
    from intervox import load_recipe

    load_recipe(str(path))


def _vectors(path: Path) -> None:
    from intervox.interop.vectors import read_vectors

    read_vectors(path)


def _embeddings(path: Path) -> None:
    from intervox.evaluation.embeddings import read_embeddings

    read_embeddings(path)


def _corpus(path: Path) -> None:
    from intervox.clips.corpus import Corpus, read_labels

    folder = path.parent if path.parent.name != "audio" else path.parents[1]
    corpus = Corpus(folder)
    corpus.load_shard(0)
    read_labels(folder)


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "model configuration": ("model/config.json", _encoded),
    "model weights": ("model/model.safetensors", _encoded),
    "ONNX graphs": ("model/model.onnx", _encoded),
    "enrolments": ("people.safetensors", _people),
    "manifests (CSV)": ("manifest.csv", _manifest),
    "manifests (JSON lines)": ("manifest.jsonl", _manifest),
    "manifests (Parquet)": ("manifest.parquet", _manifest),
    "recipes": ("recipe.yaml", _recipe),
    "vectors (.npz)": ("vectors.npz", _vectors),
    "vectors (.npy)": ("vectors.npy", _vectors),
    "vectors (.jsonl)": ("vectors.jsonl", _vectors),
    "vectors (.parquet)": ("vectors.parquet", _vectors),
    "vectors (.ark)": ("vectors.ark", _vectors),
    "embeddings (.npz)": ("vectors.npz", _embeddings),
    "corpus shards": ("corpus/audio/shard-00000.parquet", _corpus),
    "corpus records": ("corpus/corpus.json", _corpus),
}
"""Kind to its whole file in the folder that ``prepare`` fills, and what reads it."""


def main(kind: str, first: int, count: int, folder: str) -> None:
    """Print a line before each file, so that the seed of a crash is known, and one after it."""
    name, read = KINDS[kind]
    whole = Path(folder) / "whole"
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        top = name.split("/")[0]
        source, target = whole / top, Path(place) / top
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        path = Path(place) / name
        content = path.read_bytes()
        read(path)  # everything is imported before memory is counted
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
        for seed in range(first, first + count):
            path.write_bytes(damaged(content, np.random.default_rng([seed, *kind.encode()])))
            print(json.dumps({"seed": seed}), flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            begun = time.process_time()
            outcome = _outcome(read, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            seconds = round(time.process_time() - begun, 3)
            print(json.dumps({"seed": seed, "outcome": outcome, "seconds": seconds}), flush=True)


def _outcome(read: Callable[[Path], None], path: Path) -> str:
    from intervox.errors import IntervoxError

    try:
        read(path)
    except IntervoxError as error:
        said = str(error)
        return SAID if "\n" not in said and 20 < len(said) < 1000 else f"says too much: {said[:300]!r}"
    except Exception as error:
        return f"raises: {error!r}"[:300]
    return DONE


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
