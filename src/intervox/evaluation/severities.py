"""One disturbance at a stated severity: what the curves of error against severity are measured on."""

from collections.abc import Callable

import numpy as np

from intervox.corpus import disturbances as do
from intervox.corpus.conditions import INAUDIBLE_SNR_DB, Condition
from intervox.corpus.rooms import draw_room
from intervox.recipe import Disturbance
from intervox.recipe_corpus import CONDITION_BOUNDS

_NEAREST_ROOMS = 4
_ALL_MELS = float(np.log1p(8000 / 700))


def condition_at(
    disturbance: Disturbance, severity: float, random: np.random.Generator, rooms: int, seed: int
) -> Condition:
    """Draw a condition of one disturbance whose severity is the one asked for.

    Parameters
    ----------
    disturbance
        Key of ``Condition.severities``.
    severity
        In (0, 1]; ``docs/conditions.md`` defines it. Rooms and codecs have the nearest that there is.
    random
        Draws what severity leaves open: colours, edges, which room.
    rooms, seed
        Of the bank that ``load_acoustics`` simulates.
    """
    if disturbance == "room":
        bank = [draw_room(seed, index) for index in range(rooms)]
        distances = [abs(room.severity - severity) for room in bank]
        return Condition(room=bank[int(random.choice(np.argsort(distances)[:_NEAREST_ROOMS]))])
    return _DRAWS[disturbance](severity, random)


def _noise(severity: float, random: np.random.Generator) -> Condition:
    snr = INAUDIBLE_SNR_DB - severity * (INAUDIBLE_SNR_DB - CONDITION_BOUNDS["snr_db"][0])
    return Condition(noise=str(random.choice(list(do.NOISE_EXPONENTS))), snr_db=float(snr))


def _band(severity: float, random: np.random.Generator) -> Condition:
    """Take the lost part of the mel scale from the top alone, or from both ends."""
    lost = severity * _ALL_MELS
    below = float(random.uniform(0, min(0.25 * lost, np.log1p(300 / 700))))
    low, high = 700 * np.expm1([below, _ALL_MELS - (lost - below)])
    return Condition(band=(max(float(low), 1.0), float(high)))


def _clipping(severity: float, _random: np.random.Generator) -> Condition:
    return Condition(clipped_share=severity**2 * CONDITION_BOUNDS["clipped_share"][1])


def _codec(severity: float, _random: np.random.Generator) -> Condition:
    return Condition(codec=min(do.CODECS, key=lambda name: abs(do.CODECS[name].severity - severity)))


def _packet_loss(severity: float, random: np.random.Generator) -> Condition:
    concealment = do.CONCEALMENTS[int(random.integers(len(do.CONCEALMENTS)))]
    return Condition(lost_share=severity * CONDITION_BOUNDS["lost_share"][1], concealment=concealment)


_DRAWS: dict[str, Callable[[float, np.random.Generator], Condition]] = {
    "noise": _noise,
    "band": _band,
    "clipping": _clipping,
    "codec": _codec,
    "packet_loss": _packet_loss,
}
