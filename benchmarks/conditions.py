"""What each disturbance does to a clip as its severity rises: a figure and a table.

Renders a few espeak clips, applies every disturbance at six severities, and measures the
log-spectral distance to the clean clip and the cosine of the backbone's low layers with it.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal

from intervox.audio import SAMPLE_RATE, Waveform, encode_flac, load_audio
from intervox.backbones.base import Backbone
from intervox.backbones.bundled import BUNDLED
from intervox.backbones.load import load_backbone
from intervox.corpus.acoustics.conditions import Condition, apply_condition
from intervox.corpus.acoustics.disturbances import CODECS, draw_microphone
from intervox.corpus.acoustics.rooms import Acoustics, draw_room, load_acoustics
from intervox.engines.base import load_engine
from intervox.features.encoding import layer_means
from intervox.recipe import FeatureSettings
from intervox.recipe.corpus import ConditionSettings
from intervox.recipe.engines import EspeakSettings

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROOMS = 96
LOW_LAYERS = slice(0, 3)
TEXTS = ("a gentle evening by the sea", "walnut", "they sold the old red boat before the winter came")
MARKERS = ("<!-- measured: begin -->", "<!-- measured: end -->")


@dataclass(frozen=True)
class Measured:
    """One condition's severity, and its effect, averaged over the clips."""

    severity: float
    distance_db: float
    cosine: float


def sweeps() -> dict[str, list[Condition]]:
    """Conditions of one disturbance each, of rising severity."""
    rooms = sorted((draw_room(0, index) for index in range(ROOMS)), key=lambda room: room.severity)
    nearest = [min(rooms, key=lambda room: abs(room.severity - level)) for level in LEVELS]
    microphone = draw_microphone(0, 0)
    codecs = sorted(CODECS, key=lambda name: CODECS[name].severity)
    return {
        "room": [Condition(room=room) for room in nearest],
        "noise, white": [Condition(noise="white", snr_db=60 - 90 * level) for level in LEVELS],
        "noise, speech-shaped": [Condition(noise="speech", snr_db=60 - 90 * level) for level in LEVELS],
        "microphone": [Condition(microphone=replace(microphone, severity=level)) for level in LEVELS],
        "band": [Condition(band=_band(level)) for level in LEVELS],
        "tilt": [Condition(tilt=-20 * level) for level in LEVELS],
        "clipping": [Condition(clipped_share=level**2 / 2) for level in LEVELS],
        "codec": [Condition(), *(Condition(codec=codec) for codec in codecs)],
        "packet loss": [Condition(lost_share=level / 2) for level in LEVELS],
        "level": [Condition(level=-26 - 64 * level) for level in LEVELS],
    }


def _band(severity: float) -> tuple[float, float]:
    """Give a band that closes towards 1 kHz, as far as the recipe's bounds let it open."""
    middle, whole = np.log1p(1000 / 700), np.log1p(8000 / 700)
    low, high = 700 * np.expm1([severity * middle, whole - severity * (whole - middle)])
    return max(10.0, float(low)), min(7900.0, float(high) + 50)


def make_clips() -> list[Waveform]:
    """Render every text in four voices."""
    engine = load_engine(EspeakSettings(voices=40))
    voices = engine.voices()[::10]
    return [engine.render(text, voice.name, seed=1) for voice in voices for text in TEXTS]


def disturb(clip: Waveform, condition: Condition, acoustics: Acoustics, seed: int) -> Waveform:
    """Apply a condition and round to 16 bits, as a corpus does."""
    wave = apply_condition(clip, condition, acoustics, np.random.default_rng(seed))
    return load_audio(encode_flac(wave))


def spectral_distance(clean: Waveform, disturbed: Waveform) -> float:
    """Root mean square difference of two log spectra in dB, mean over frames, levels made equal."""
    power = [_power(clean), _power(disturbed)]
    difference = np.subtract(*(10 * np.log10(np.maximum(p, 1e-6 * power[0].max())) for p in power))
    return float(np.sqrt(np.mean(difference**2, axis=0)).mean())


def _power(wave: Waveform) -> NDArray[np.float64]:
    scaled = wave / np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
    return np.asarray(np.abs(signal.stft(scaled, SAMPLE_RATE, nperseg=512)[2]) ** 2)


def embed(backbone: Backbone, clips: Sequence[Waveform]) -> NDArray[np.float32]:
    """Means of the low layers: (clips, layers, dim)."""
    return layer_means(backbone, clips, FeatureSettings())[0][:, LOW_LAYERS]


def measure(backbone: Backbone) -> tuple[dict[str, list[Measured]], float]:
    """Measure every sweep, and the mean cosine between two voices that say the same."""
    clips = make_clips()
    settings = ConditionSettings(rooms=ROOMS)
    acoustics = load_acoustics(settings, 0, Path("runs") / "figures")
    clean = embed(backbone, clips)
    centre = clean.mean(axis=0)
    results: dict[str, list[Measured]] = {}
    for name, conditions in sweeps().items():
        results[name] = []
        for condition in conditions:
            changed = [disturb(clip, condition, acoustics, seed) for seed, clip in enumerate(clips)]
            distance = np.mean([spectral_distance(*pair) for pair in zip(clips, changed, strict=True)])
            cosine = _cosine(clean - centre, embed(backbone, changed) - centre)
            results[name].append(Measured(condition.severity, float(distance), cosine))
    other_voices = np.roll(clean, len(TEXTS), axis=0)
    return results, _cosine(clean - centre, other_voices - centre)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(np.mean(np.sum(a * b, axis=-1) / norms))


def draw(results: Mapping[str, Sequence[Measured]], other_voice: float) -> Figure:
    """Draw both measures over severity, one line a disturbance."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, points) in enumerate(results.items()):
        severity = [point.severity for point in points]
        style = {"marker": "o", "markersize": 2.5, "linewidth": 1.3, "color": f"C{number}", "label": name}
        left.plot(severity, [point.distance_db for point in points], **style)
        right.plot(severity, [point.cosine for point in points], **style)
    right.axhline(other_voice, color="0.6", linewidth=1, linestyle="--", label="another voice")
    left.set(xlabel="severity", ylabel="log-spectral distance, dB", ylim=(0, None))
    right.set(xlabel="severity", ylabel="cosine with the clean clip, layers 0 to 2", ylim=(None, 1.03))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    return figure


def table(results: Mapping[str, Sequence[Measured]]) -> str:
    """Write both measures in Markdown, one row a disturbance, at its lowest, middle and highest point."""
    lines = ["| disturbance | severity | distance, dB | cosine |", "|---|---|---|---|"]
    for name, points in results.items():
        shown = [points[1], points[len(points) // 2], points[-1]]
        columns = [
            " / ".join(f"{point.severity:.2f}" for point in shown),
            " / ".join(f"{point.distance_db:.1f}" for point in shown),
            " / ".join(f"{point.cosine:.2f}" for point in shown),
        ]
        lines.append(f"| {name} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def write_page(page: Path, measured: str) -> None:
    """Replace what stands between the page's markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKERS[0])
    after = rest.partition(MARKERS[1])[2]
    page.write_text(f"{before}{MARKERS[0]}\n{measured}\n{MARKERS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of conditions.md")
    options = parser.parse_args()
    results, other_voice = measure(load_backbone(BUNDLED, "cpu"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "intervox", "font.size": 9}):
        drawn = draw(results, other_voice)
        drawn.savefig(options.docs / "conditions.svg", metadata={"Date": None}, bbox_inches="tight")
    write_page(options.docs / "conditions.md", table(results))
    print(table(results))
    print(f"cosine of two voices that say the same: {other_voice:.2f}")
