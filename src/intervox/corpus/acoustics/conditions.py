"""do(condition): the room, the noise and the channel between a speaker and the recording.

A corpus draws a bank of conditions once, and its cells refer to entries of it. A condition is
written into the plan as readable text, so a clip says what was done to it, and equal texts are the
same condition.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.clips.corpus import tally
from intervox.corpus.acoustics import disturbances as do
from intervox.corpus.acoustics.disturbances import Microphone, draw_microphone
from intervox.corpus.acoustics.rooms import Acoustics, Room, draw_room, noise_stretch
from intervox.recipe.corpus import CONDITION_BOUNDS, ConditionSettings
from intervox.recipe.parts import Range
from intervox.seeds import rng

RECORDING = "recording"
"""The noise that comes from ``ConditionSettings.noise_folder``."""

INAUDIBLE_SNR_DB = 60.0
INAUDIBLE_LEVEL_DBFS = -26.0
"""Below this peak, the rounding of 16 bits comes closer to speech than ``INAUDIBLE_SNR_DB``."""


@dataclass(frozen=True)
class Condition:
    """One draw; ``None`` (or zero) means that the disturbance is absent.

    Attributes
    ----------
    pad_before, pad_after
        Silence around the speech in seconds, filled by the noise.
    room
        Where the speaker and the microphone are.
    noise, snr_db
        A colour of ``NOISE_EXPONENTS`` or ``recording``, and the ratio of mean powers in dB.
    microphone
        Its response and noise floor.
    band
        Low and high cut-off in Hz.
    tilt
        Spectral tilt around 1 kHz in dB per octave.
    clipped_share
        Share of samples flattened.
    codec
        A key of ``CODECS``.
    lost_share, concealment
        Expected share of 20 ms packets lost in bursts, and what takes their place.
    level
        Peak in dBFS.
    """

    pad_before: float = 0.0
    pad_after: float = 0.0
    room: Room | None = None
    noise: str | None = None
    snr_db: float = 0.0
    microphone: Microphone | None = None
    band: tuple[float, float] | None = None
    tilt: float | None = None
    clipped_share: float | None = None
    codec: str | None = None
    lost_share: float | None = None
    concealment: do.Concealment = "repeat"
    level: float | None = None

    def __str__(self) -> str:
        return " ".join(label for _, label, _ in self._present()) or "clean"

    @property
    def severities(self) -> dict[str, float]:
        """How much each disturbance that is present disturbs, 0 (inaudible) to 1.

        1 is the worst that a recipe may ask for. Keys are the probabilities' names in the recipe;
        ``docs/conditions.md`` has the definitions.
        """
        return {name: severity for name, _, severity in self._present()}

    @property
    def severity(self) -> float:
        """That of the worst disturbance; 0 where there is none."""
        return max(self.severities.values(), default=0.0)

    def _present(self) -> Iterator[tuple[str, str, float]]:
        """Yield the name, the label and the severity of each disturbance that is present."""
        worst = CONDITION_BOUNDS
        if self.pad_before or self.pad_after:
            yield "padding", f"pad:{self.pad_before:.2f}+{self.pad_after:.2f}s", 0.0
        if self.room:
            yield "room", str(self.room), self.room.severity
        if self.noise:
            severity = _below(INAUDIBLE_SNR_DB, self.snr_db, worst["snr_db"][0])
            yield "noise", f"noise:{self.noise}@{self.snr_db:.0f}dB", severity
        if self.microphone:
            yield "microphone", str(self.microphone), self.microphone.severity
        if self.band:
            low, high, all_mels = np.log1p(np.divide((*self.band, 8000), 700))
            label = f"band:{self.band[0]:.0f}-{self.band[1]:.0f}Hz"
            yield "band", label, float(1 - (high - low) / all_mels)
        if self.tilt is not None:
            yield "tilt", f"tilt:{self.tilt:+.1f}dB/oct", abs(self.tilt) / worst["tilt_db_per_octave"][1]
        if self.clipped_share is not None:
            severity = (self.clipped_share / worst["clipped_share"][1]) ** 0.5
            yield "clipping", f"clip:{100 * self.clipped_share:.1f}%", severity
        if self.codec:
            yield "codec", f"codec:{self.codec}", do.CODECS[self.codec].severity
        if self.lost_share is not None:
            label = f"loss:{100 * self.lost_share:.0f}%/{self.concealment}"
            yield "packet_loss", label, self.lost_share / worst["lost_share"][1]
        if self.level is not None:
            severity = _below(INAUDIBLE_LEVEL_DBFS, self.level, worst["level_dbfs"][0])
            yield "level", f"level:{self.level:.0f}dBFS", severity


def condition_bank(settings: ConditionSettings, seed: int) -> list[Condition]:
    """Draw the conditions of a corpus: the clean one, then others, no two with the same text.

    Parameters
    ----------
    settings
        Probabilities and ranges; ``clean`` plays no part, for it says how often entry 0 is used.
    seed
        The corpus' seed.

    Returns
    -------
    list of Condition
        ``settings.count`` of them, or as many as settings of little choice can tell apart.
    """
    random = rng(seed, "conditions")
    disturbed = settings.model_copy(update={"clean": 0.0})
    bank = {str(Condition()): Condition()}
    for _ in range(20 * settings.count):
        if len(bank) == settings.count:
            break
        condition = draw_condition(disturbed, random, seed)
        bank.setdefault(str(condition), condition)
    return list(bank.values())


def draw_condition(settings: ConditionSettings, random: np.random.Generator, seed: int = 0) -> Condition:
    """Draw each disturbance independently, or none of them.

    Parameters
    ----------
    seed
        That of the rooms and microphones; give ``load_acoustics`` the same.
    """

    def happens(probability: float) -> bool:
        return bool(random.random() < probability)

    def within(bounds: Range) -> float:
        return float(random.uniform(*bounds))

    if happens(settings.clean):
        return Condition()
    padded = happens(settings.padding)
    noisy = happens(settings.noise)
    drawn = Condition(
        pad_before=within(settings.padding_seconds) if padded else 0.0,
        pad_after=within(settings.padding_seconds) if padded else 0.0,
        room=draw_room(seed, int(random.integers(settings.rooms))) if happens(settings.room) else None,
        noise=str(random.choice(list(do.NOISE_EXPONENTS))) if noisy else None,
        snr_db=within(settings.snr_db) if noisy else 0.0,
        band=(within(settings.low_hz), within(settings.high_hz)) if happens(settings.band) else None,
        tilt=within(settings.tilt_db_per_octave) if happens(settings.tilt) else None,
        level=within(settings.level_dbfs) if happens(settings.level) else None,
        clipped_share=within(settings.clipped_share) if happens(settings.clipping) else None,
        codec=str(random.choice(list(do.CODECS))) if happens(settings.codec) else None,
    )
    # Drawn last, and only where asked for: settings without them go on drawing what they did before.
    if noisy and settings.noise_folder and happens(settings.noise_recordings):
        drawn = replace(drawn, noise=RECORDING)
    if settings.microphone and happens(settings.microphone):
        drawn = replace(drawn, microphone=draw_microphone(seed, int(random.integers(settings.microphones))))
    if settings.packet_loss and happens(settings.packet_loss):
        concealment = do.CONCEALMENTS[random.integers(len(do.CONCEALMENTS))]
        drawn = replace(drawn, lost_share=within(settings.lost_share), concealment=concealment)
    return drawn


def apply_condition(
    wave: Waveform, condition: Condition, acoustics: Acoustics, random: np.random.Generator
) -> Waveform:
    """Disturb a clip; only padding changes its length.

    Parameters
    ----------
    wave
        Clean speech.
    condition
        Applied in the order of its attributes: what happens in the room, in the microphone, in the
        recorder, on the line, and at the receiver's volume control.
    acoustics
        Of the settings and the seed that ``condition`` was drawn from.
    random
        Draws the noise and which packets are lost.
    """
    if condition == Condition():
        return wave
    before, after = (round(s * SAMPLE_RATE) for s in (condition.pad_before, condition.pad_after))
    result = _in_the_room(np.pad(wave, (before, after)), condition, acoustics, random)
    result = _recorded(result, condition, random)
    peak = float(np.abs(result).max())
    if peak > 0:
        result = result * (0.9 / peak)
        if condition.codec:
            result = do.coded(result, condition.codec)
        if condition.lost_share is not None:
            result = do.with_lost_packets(result, condition.lost_share, condition.concealment, random)
        if condition.level is not None:
            result = result * (10 ** (condition.level / 20) / 0.9)
    return np.asarray(result, np.float32)


def _in_the_room(
    wave: do.Samples, condition: Condition, acoustics: Acoustics, random: np.random.Generator
) -> do.Samples:
    if condition.room:
        wave = do.reverberated(wave, acoustics.rooms[condition.room.index])
    if condition.noise == RECORDING:
        wave = do.with_noise(wave, noise_stretch(acoustics.noises, len(wave), random), condition.snr_db)
    elif condition.noise:
        noise = do.coloured_noise(len(wave), do.NOISE_EXPONENTS[condition.noise], random)
        wave = do.with_noise(wave, noise, condition.snr_db)
    return wave


def _recorded(wave: do.Samples, condition: Condition, random: np.random.Generator) -> do.Samples:
    if condition.microphone:
        wave = do.equalised(wave, condition.microphone.gains_db)
        wave = do.with_noise(wave, do.coloured_noise(len(wave), 0.0, random), condition.microphone.snr_db)
    if condition.band:
        wave = do.band_limited(wave, *condition.band)
    if condition.tilt is not None:
        wave = do.tilted(wave, condition.tilt)
    if condition.clipped_share is not None:
        wave = do.clipped(wave, condition.clipped_share)
    return wave


def _below(inaudible: float, value: float, worst: float) -> float:
    """Say how far ``value`` has gone from what is inaudible down to the worst, 0 to 1."""
    return float(np.clip((inaudible - value) / (inaudible - worst), 0, 1))


def disturbance_counts(cells: pa.Table) -> list[tuple[str, int]]:
    """Count the cells that each kind of disturbance is in, the most frequent first.

    Labels of conditions name kinds and their particulars, as in ``noise:pink@26dB level:-13dBFS``; one of
    any other form is a kind by itself, and a cell without one is clean.
    """
    labels = tally(cells, "condition")
    labels["clean"] += cells.num_rows - labels.total()
    found: Counter[str] = Counter()
    for label, count in (+labels).items():
        parts = [part.partition(":") for part in label.split()]
        kinds = {kind for kind, _, _ in parts} if all(colon for _, colon, _ in parts) else {label}
        found.update(dict.fromkeys(kinds, count))
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))
