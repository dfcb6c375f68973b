"""Peers: embedders with weights of their own, measured in the same harness as the subspaces.

A peer is an ``Encoder``: ``extract`` caches its vectors as it caches a backbone's layer means. Adding
one is a class and a registry line; any function can be measured through ``CallableEncoder``.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor, nn

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError, missing_extra
from intervox.evaluation.representations import Representation
from intervox.features.encoding import Encoder
from intervox.metrics.vectors import unit
from intervox.storage import file_sha256

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
_WINDOW, _HOP, _CHANNELS = 400, 160, 40
_PARTIAL = 160
"""Mel frames that the network sees at once: 1.6 s."""

_STEP = 77
"""Mel frames between two partials: 1.3 of them a second."""

_MIN_COVERAGE = 0.75
_LEVEL_DBFS = -30.0
_VOICE_WINDOW, _VOICE_AVERAGE, _MAX_SILENCE = 480, 8, 6
_BATCH = 256


class Resemblyzer:
    """The d-vectors of Wan et al. 2018 (GE2E) in Resemblyzer 0.1.4's weights.

    An ``Encoder`` of one layer: the mean of the unit vectors of a clip's overlapping partials of
    1.6 s, after long silences are cut out.

    Raises
    ------
    IntervoxError
        The extra ``peers`` is not installed, or its weights are not the expected file.
    """

    name = "resemblyzer"
    about = (
        "GE2E speaker encoder, by its author trained on 9,600 people of VoxCeleb 1 and 2 and "
        "LibriSpeech-other (Apache-2.0)"
    )
    layers = 1
    dim = 256
    fingerprint = f"resemblyzer-{SHA256[:16]}"

    def __init__(self) -> None:
        from transformers.audio_utils import mel_filter_bank

        weights = _weights()
        self._voice = _VoiceDetector()
        self._network = _Network()
        self._network.load_state_dict(weights)
        self._network.eval().requires_grad_(False)
        filters = mel_filter_bank(
            _WINDOW // 2 + 1, _CHANNELS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self._filters = torch.from_numpy(np.asarray(filters, np.float32))

    def encode(self, waves: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed clips of any length; see ``Encoder.encode``."""
        parts = [self._partials(self._voice.trim(_raised(wave))) for wave in waves]
        counts = np.asarray([len(part) for part in parts], np.int64)
        with torch.inference_mode():
            vectors = [self._network(batch) for batch in torch.split(torch.cat(parts), _BATCH)]
        owners = np.repeat(np.arange(len(waves)), counts)
        sums = np.zeros((len(waves), self.dim), np.float32)
        np.add.at(sums, owners, torch.cat(vectors).numpy())
        means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return means[:, None], counts * _PARTIAL

    def _partials(self, wave: Waveform) -> Tensor:
        """Cut into overlapping mel spectrograms of shape (partials, frames, channels)."""
        starts = partial_starts(len(wave))
        end = (starts[-1] + _PARTIAL) * _HOP
        samples = torch.from_numpy(np.pad(wave, (0, max(0, end - len(wave)))))
        spectrum = torch.stft(
            samples,
            _WINDOW,
            _HOP,
            window=torch.hann_window(_WINDOW),
            pad_mode="constant",
            return_complex=True,
        )
        mel = spectrum.abs().square().T @ self._filters
        return torch.stack([mel[start : start + _PARTIAL] for start in starts])


def partial_starts(samples: int) -> list[int]:
    """Return the first mel frame of each partial; the last one may reach beyond the clip."""
    frames = -(-(samples + 1) // _HOP)
    starts = list(range(0, max(1, frames - _PARTIAL + _STEP + 1), _STEP))
    covered = samples - starts[-1] * _HOP
    return starts[:-1] if covered < _MIN_COVERAGE * _PARTIAL * _HOP and len(starts) > 1 else starts


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_CHANNELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


def _weights() -> dict[str, Tensor]:
    """Load the package's weights without executing what a pickle could hold."""
    spec = find_spec("resemblyzer")
    if spec is None or spec.origin is None:
        raise missing_extra("Resemblyzer", "peers", "the peer resemblyzer")
    path = Path(spec.origin).parent / "pretrained.pt"
    if not path.is_file() or file_sha256(path) != SHA256:
        raise IntervoxError(
            f"{path} is not the expected file (sha256 differs): reinstall it with "
            "pip install --force-reinstall --no-deps Resemblyzer==0.1.4"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    return {name: tensor for name, tensor in state.items() if not name.startswith("similarity_")}


class _VoiceDetector:
    """WebRTC's detector at its strictest, through the extension module that ``webrtcvad`` wraps."""

    def __init__(self) -> None:
        try:
            import _webrtcvad
        except ImportError:
            raise missing_extra("webrtcvad", "peers", "the peer resemblyzer") from None
        self._library = _webrtcvad

    def trim(self, wave: Waveform) -> Waveform:
        """Shorten silences to 0.2 s; a clip without any voice stays whole."""
        wave = wave[: len(wave) - len(wave) % _VOICE_WINDOW] if len(wave) >= _VOICE_WINDOW else wave
        detector = self._library.create()
        self._library.init(detector)
        self._library.set_mode(detector, 3)
        samples = np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
        windows = samples[: len(samples) // _VOICE_WINDOW * _VOICE_WINDOW].reshape(-1, _VOICE_WINDOW)
        voiced = [
            self._library.process(detector, SAMPLE_RATE, window.tobytes(), _VOICE_WINDOW)
            for window in windows
        ]
        padded = np.pad(np.asarray(voiced, float), ((_VOICE_AVERAGE - 1) // 2, _VOICE_AVERAGE // 2))
        smooth = np.convolve(padded, np.full(_VOICE_AVERAGE, 1 / _VOICE_AVERAGE), "valid")
        kept = binary_dilation(np.round(smooth).astype(bool), np.ones(_MAX_SILENCE + 1, bool))
        return wave[np.repeat(kept, _VOICE_WINDOW)] if kept.any() else wave


def _raised(wave: Waveform) -> Waveform:
    """Amplify a quiet clip to -30 dBFS; a loud one stays."""
    level = 20 * np.log10(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    return np.asarray(wave * 10 ** (max(0.0, _LEVEL_DBFS - level) / 20), np.float32)


PEERS: dict[str, Callable[[], Encoder]] = {Resemblyzer.name: Resemblyzer}
ABOUT_PEERS = {Resemblyzer.name: Resemblyzer.about}
"""Every peer to one clause that says what it is."""


def load_peer(name: str) -> Encoder:
    """Load a peer by its name.

    Raises
    ------
    IntervoxError
        There is none of that name, or what it needs is not installed.
    """
    if name not in PEERS:
        raise IntervoxError(f"there is no peer {name!r}: choose from {', '.join(PEERS)}")
    return PEERS[name]()


def peer_representation(encoder: Encoder, space: str = "speaker") -> Representation:
    """Score a peer's vectors as they are, by cosine, next to one of the subspaces.

    ``embed`` takes the features that ``extract`` made with this encoder, not those of the backbone.
    """
    return Representation(
        f"{encoder.name}.{space}", lambda means: unit(means.reshape(len(means), -1)), encoder.name
    )


class CallableEncoder:
    """Any embedder, as a function.

    Parameters
    ----------
    function
        Takes 16 kHz float32 arrays of shape (samples,) and gives their vectors, shape (clips, dim);
        with ``batched=False`` it takes one array and gives one vector, shape (dim,).
    name
        What the results call it.
    dim
        Of the vectors.
    fingerprint
        A name for the weights and settings behind the function, to cache its vectors under. Without
        one they are made again each time, as nobody can tell whether the function has changed.
    batched
        Whether the function takes many clips at once.
    """

    layers = 1

    def __init__(
        self,
        function: Callable[..., ArrayLike],
        name: str,
        dim: int,
        fingerprint: str | None = None,
        batched: bool = True,
    ) -> None:
        self._function = function
        self._batched = batched
        self.name = name
        self.dim = dim
        self.fingerprint = fingerprint or uuid4().hex

    def encode(self, waves: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed clips of any length, as unit vectors; see ``Encoder.encode``.

        Raises
        ------
        IntervoxError
            The function gave another shape, or numbers that are not finite.
        """
        given = self._function(list(waves)) if self._batched else [self._function(wave) for wave in waves]
        vectors = np.asarray(given, np.float32)
        if vectors.shape != (len(waves), self.dim):
            raise IntervoxError(
                f"{self.name} gave vectors of shape {vectors.shape} for {len(waves)} clips: make it "
                f"{(len(waves), self.dim)}, or correct its dim"
            )
        if not np.isfinite(vectors).all():
            raise IntervoxError(f"{self.name} gave NaN or infinite numbers: correct the function")
        # Features are kept in half precision, whose range the numbers of a stranger need not be in.
        return unit(vectors)[:, None], np.asarray([len(wave) for wave in waves], np.int64)
