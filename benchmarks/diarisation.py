"""Who spoke when? Diarisation error on people of LibriSpeech test-other in turn, beside Resemblyzer.

Recordings of 2, 3 and 5 people are composed of clips that enrol nobody, in random order. Both systems run in
the same pipeline: the same speech, windows, clustering and path. Resemblyzer's cosines are calibrated on
windows of train-clean-100, which nobody in test-other speaks; Intervox has its model's own calibration.
Errors are in % of the speech, with a collar of 0.25 s; voices without names are mapped as fits best.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from intervox.applications import diarise
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.errors import IntervoxError
from intervox.evaluation.baselines.peers import load_peer
from intervox.evaluation.conversations import Conversation, compose
from intervox.evaluation.protocols import data_folder
from intervox.metrics.diarisation import DiarisationError, diarisation_error
from intervox.metrics.vectors import Vectors
from intervox.model.decision import Calibration, References
from intervox.model.embedder import Embedder
from intervox.model.loading import load_model
from intervox.model.matching import Matching

PEOPLE = (2, 3, 5)
ENROLLED_BY = 2
TURNS = 3
FALSE_ACCEPTS = 0.01
Clips = dict[str, list[Path]]


class Peer(Embedder):
    """Resemblyzer behind the interface of a model, with a calibration of its own."""

    name = backbone_name = fingerprint = key = "resemblyzer"
    window_seconds = 30.0
    measured: dict[str, dict[str, list[float]]] = {}  # noqa: RUF012 - nothing to show
    matching: Matching | None = None
    references: References | None = None
    factors = {"speaker": "speaker"}  # noqa: RUF012 - read only
    dims = {"speaker": 256}  # noqa: RUF012 - read only

    def __init__(self, windows: Sequence[list[Waveform]]) -> None:
        self._peer = load_peer("resemblyzer")
        self._line = calibrated([self._embed(waves) for waves in windows])

    @property
    def calibration(self) -> dict[str, Calibration]:
        return {"speaker": self._line}

    def ready(self) -> None:
        pass

    def _embed(self, waves: Sequence[Waveform]) -> Vectors:
        return np.asarray(self._peer.encode(waves)[0][:, 0], np.float32)

    def _vectors(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        return {"speaker": list(self._embed(waves))}

    def _frames(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        raise NotImplementedError


def calibrated(people: list[Vectors]) -> Calibration:
    """Fit log odds to cosines of windows, same and different at even odds; accept 1 % of the different."""
    vectors = np.concatenate(people)
    owners = np.repeat(np.arange(len(people)), [len(own) for own in people])
    first, second = np.triu_indices(len(vectors), 1)
    cosines = (vectors @ vectors.T)[first, second]
    same = owners[first] == owners[second]
    line = LogisticRegression(class_weight="balanced", C=1e6).fit(cosines[:, None], same)
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    accepted = float(np.quantile(cosines[~same], 1 - FALSE_ACCEPTS))
    return Calibration(slope, offset, accept_at=slope * accepted + offset)


def windows_of_others(folder: Path, people: int) -> list[list[Waveform]]:
    """Return windows of people who are in no recording, a list for each."""
    size = round(diarise.WINDOW_SECONDS * SAMPLE_RATE)
    found = []
    for clip in sorted(folder.glob("*/*.flac")):
        wave = load_audio(clip)
        found.append([wave[start : start + size] for start in range(size, len(wave) - size, size)][:6])
    return [windows for windows in found if windows][:people]


def recordings(clips: Clips, people: int, count: int) -> list[tuple[list[str], Conversation]]:
    """Compose recordings: who is in them, and each in turn some times, in random order."""
    made = []
    for number in range(count):
        random = np.random.default_rng([people, number])
        names = random.choice(sorted(clips), people, replace=False).tolist()
        later = {
            name: iter(random.permutation(len(clips[name]) - ENROLLED_BY) + ENROLLED_BY) for name in names
        }
        order = [name for _ in range(TURNS) for name in random.permutation(names).tolist()]
        said = [(name, clips[name][int(next(later[name]))]) for name in order]
        made.append((names, compose(said, number)))
    return made


def errors(
    model: Embedder, clips: Clips, made: list[tuple[list[str], Conversation]]
) -> dict[str, list[DiarisationError]]:
    """Measure a model on recordings in all ways."""
    found: dict[str, list[DiarisationError]] = {"enrolled": [], "number known": [], "nothing known": []}
    for names, recording in made:
        people = SpeakerVerifier(model)
        for name in names:
            people.enrol(name, clips[name][:ENROLLED_BY])
        windows = list(diarise.hear([recording.wave], people))
        heard = diarise.joined(windows)
        ways = {
            "enrolled": list(diarise.named_turns(windows, people)),
            "number known": diarise.numbered_turns(*heard, people, len(names)),
            "nothing known": diarise.numbered_turns(*heard, people, None),
        }
        for way, turns in ways.items():
            stretches = [(turn.start, turn.end, turn.speaker) for turn in turns]
            found[way].append(diarisation_error(recording.turns, stretches, named=way == "enrolled"))
    return found


def main(options: argparse.Namespace) -> None:
    folder = data_folder() / "librispeech"
    if not folder.is_dir():
        raise IntervoxError(f"{folder} is missing: fetch LibriSpeech's test-other")
    clips = {each.name: sorted(each.glob("*.flac")) for each in sorted((folder / "test-other").iterdir())}
    models: dict[str, Embedder] = {"intervox": load_model()}
    if options.peers:
        models["Resemblyzer"] = Peer(windows_of_others(folder / "train-clean-100", 100))
    table = Table("people", "system", "known", "DER, %", "missed", "false alarm", "confused")
    for people in PEOPLE:
        made = recordings(clips, people, options.recordings)
        for system, model in models.items():
            for way, rates in errors(model, clips, made).items():
                means: NDArray[np.float64] = 100 * np.mean(rates, axis=0)
                cells = [means.sum(), *means]
                table.add_row(str(people), system, way, *(f"{cell:.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=2, help="of each number of people")
    parser.add_argument("--peers", action="store_true", help="measure Resemblyzer too")
    main(parser.parse_args())
