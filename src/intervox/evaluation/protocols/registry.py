"""The corpora that Intervox reads as they are distributed."""

from intervox.evaluation.protocols.an4 import AN4
from intervox.evaluation.protocols.audiomnist import AUDIOMNIST
from intervox.evaluation.protocols.base import Corpus
from intervox.evaluation.protocols.cmu_arctic import CMU_ARCTIC
from intervox.evaluation.protocols.cnceleb import CNCELEB
from intervox.evaluation.protocols.common_voice import COMMON_VOICE
from intervox.evaluation.protocols.emodb import EMODB
from intervox.evaluation.protocols.fsdd import FSDD
from intervox.evaluation.protocols.librispeech import librispeech
from intervox.evaluation.protocols.ravdess import RAVDESS
from intervox.evaluation.protocols.speech_commands import (
    SPEECH_COMMANDS,
    SPEECH_COMMANDS_10,
    SPEECH_COMMANDS_12,
)
from intervox.evaluation.protocols.vctk import VCTK
from intervox.evaluation.protocols.voices import VOICES
from intervox.evaluation.protocols.voxceleb import VOXCELEB1

READERS: dict[str, Corpus] = {
    "librispeech": librispeech("test-other", automatic=True),
    "librispeech_test_clean": librispeech("test-clean", automatic=True),
    "librispeech_dev_other": librispeech("dev-other", automatic=False),
    "librispeech_dev_clean": librispeech("dev-clean", automatic=False),
    "speech_commands": SPEECH_COMMANDS,
    "speech_commands_12": SPEECH_COMMANDS_12,
    "speech_commands_10": SPEECH_COMMANDS_10,
    "fsdd": FSDD,
    "audiomnist": AUDIOMNIST,
    "voxceleb1": VOXCELEB1,
    "voices": VOICES,
    "cnceleb": CNCELEB,
    "vctk": VCTK,
    "cmu_arctic": CMU_ARCTIC,
    "emodb": EMODB,
    "ravdess": RAVDESS,
    "an4": AN4,
    "common_voice": COMMON_VOICE,
}
