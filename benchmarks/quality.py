"""What the quality checks find and what they refuse wrongly.

Good clips: an engine's renditions of generated English texts (or ``--recordings``, a folder with a
folder of clips for each word). Bad ones: the same clips against another text of their kind, cut in
half, played backwards, and noise of the clip's length. For every measure: the area under the ROC
curve of good against wrong text, the threshold that refuses 3 % of the good clips of that kind, and
the share of wrong texts that it finds; then what the recipe's default threshold refuses.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.labels import Text
from intervox.corpus.acoustics.voices import draw_transformations, transform_voice
from intervox.corpus.plan.texts import texts
from intervox.corpus.render.quality import least_evidence, reading_errors
from intervox.corpus.render.recogniser import Hearing, Recogniser
from intervox.engines.base import load_engine
from intervox.recipe.corpus import QualitySettings, TextSettings
from intervox.recipe.engines import EngineSettings, EspeakSettings, KokoroSettings

ENGINES: dict[str, EngineSettings] = {
    "espeak": EspeakSettings(voices=320),
    "kokoro": KokoroSettings(name="kokoro", voices=28),
}
REFUSED = 0.03
Clips = list[tuple[Waveform, Text]]


def rendered(engine_name: str, count: int) -> Clips:
    """Speak ``count`` generated texts, each in another voice."""
    engine = load_engine(ENGINES[engine_name])
    voices = [voice for voice in engine.voices() if voice.language.startswith("en")]
    random = np.random.default_rng(0)
    chosen = texts(TextSettings(count=count), ["en"], 3)
    names = [voices[random.integers(len(voices))].name for _ in chosen]
    return [
        (engine.render(text.text, name, i), text)
        for i, (text, name) in enumerate(zip(chosen, names, strict=True))
    ]


def recorded(folder: Path, count: int) -> Clips:
    """Take ``count`` clips of people, evenly over the words."""
    words = sorted(path for path in folder.iterdir() if path.is_dir())
    return [
        (load_audio(path), Text(word.name, "en", "recorded word"))
        for word in words
        for path in sorted(word.iterdir())[: -(-count // len(words))]
    ]


def another_text(clips: Clips) -> list[Text]:
    """Give each clip a text that belongs to another clip of its kind."""
    random = np.random.default_rng(1)
    result = []
    for _, text in clips:
        others = [other for _, other in clips if other.kind == text.kind and other.text != text.text]
        result.append(others[random.integers(len(others))])
    return result


def scores(hearings: list[Hearing], said: list[Text]) -> dict[str, list[float]]:
    """Return every measure with its sign such that more is better."""
    rows = [
        reading_errors(text.text, heard.transcript, "en") for heard, text in zip(hearings, said, strict=True)
    ]
    return {
        "evidence": [heard.evidence for heard in hearings],
        **{name: [-float(row[name] or 0) for row in rows] for name in ("cer", "wer", "per")},
    }


def roc_table(kinds: list[str], good: dict[str, list[float]], wrong: dict[str, list[float]]) -> Table:
    table = Table(
        "kind", "clips", "measure", "AUC", "good: median", f"refuses {REFUSED:.0%} at", "wrong text found"
    )
    for kind in dict.fromkeys(kinds):
        chosen = np.array([other == kind for other in kinds])
        for name in good:
            right, other = np.array(good[name])[chosen], np.array(wrong[name])[chosen]
            auc = roc_auc_score(np.repeat([1, 0], chosen.sum()), np.r_[right, other])
            limit = np.quantile(right, REFUSED)
            cells = f"{auc:.3f}", f"{np.median(right):.2f}", f"{limit:.2f}", f"{np.mean(other < limit):.0%}"
            table.add_row(kind, str(chosen.sum()), name, *cells)
    return table


def margins(hearings: list[Hearing], said: list[Text]) -> list[float]:
    """Return how far the evidence lies above what the recipe's default asks for."""
    limits = [least_evidence(text.text, QualitySettings()) or 0.0 for text in said]
    return [heard.evidence - limit for heard, limit in zip(hearings, limits, strict=True)]


def refusal_table(kinds: list[str], above: dict[str, list[float]]) -> Table:
    """Return the share that the recipe's default refuses, for each way to spoil a clip."""
    table = Table("refused by default", *above)
    for kind in [*dict.fromkeys(kinds), "all"]:
        chosen = np.array([kind in (other, "all") for other in kinds])
        table.add_row(kind, *(f"{np.mean(np.array(values)[chosen] < 0):.1%}" for values in above.values()))
    return table


def spoilt(clips: Clips) -> dict[str, list[Waveform]]:
    random = np.random.default_rng(2)
    changes = draw_transformations(len(clips), 0)
    ways: dict[str, Callable[[int, Waveform], Waveform]] = {
        "voice transformed": lambda i, wave: transform_voice(wave, changes[i], i),
        "first half only": lambda _, wave: wave[: len(wave) // 2],
        "backwards": lambda _, wave: wave[::-1],
        "noise": lambda _, wave: np.float32(0.05) * random.normal(size=len(wave)).astype(np.float32),
    }
    return {name: [way(i, wave) for i, (wave, _) in enumerate(clips)] for name, way in ways.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="espeak")
    parser.add_argument("--recordings", type=Path)
    parser.add_argument("--clips", type=int, default=400)
    options = parser.parse_args()
    clips = (
        recorded(options.recordings, options.clips)
        if options.recordings
        else rendered(options.engine, options.clips)
    )
    waves, said = [wave for wave, _ in clips], [text for _, text in clips]
    kinds = [text.kind for text in said]
    recogniser = Recogniser()
    begun, cpu = time.perf_counter(), time.process_time()
    heard = recogniser.listen(waves, [text.text for text in said])
    spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
    instead = another_text(clips)
    misheard = recogniser.listen(waves, [text.text for text in instead])
    above = {"good": margins(heard, said), "wrong text": margins(misheard, instead)}
    for name, others in spoilt(clips).items():
        above[name] = margins(recogniser.listen(others, [text.text for text in said]), said)
    console = Console(width=110)
    console.print(roc_table(kinds, scores(heard, said), scores(misheard, instead)))
    console.print(refusal_table(kinds, above))
    seconds = sum(map(len, waves)) / SAMPLE_RATE / len(waves)
    print(f"{seconds:.2f} s per clip; listening {spent / len(waves):.3f} s, {cpu / len(waves):.3f} s of CPU")
