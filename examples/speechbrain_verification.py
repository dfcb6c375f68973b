"""Intervox behind the interface of SpeechBrain's ``SpeakerRecognition``; SpeechBrain itself is not needed.

Run it to compare two clips: ``python examples/speechbrain_verification.py a.wav b.wav``
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from intervox import load_model
from intervox.audio import load_audio


class IntervoxSpeakerRecognition:
    """Embed and compare speakers by batches of waveforms, or by files.

    Parameters
    ----------
    model
        Name or folder of a refined model.
    space
        Which of its subspaces.
    """

    def __init__(self, model: str = "default", space: str = "speaker") -> None:
        self.space = space
        self.model = load_model(model)
        self.model.check_space(space)

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """Embed waveforms.

        Parameters
        ----------
        wavs
            Shape (batch, samples) or (samples,), 16 kHz.
        wav_lens
            Length of each as a share of the longest, shape (batch,). What lies behind is not heard.

        Returns
        -------
        Tensor
            Unit vectors, shape (batch, 1, dim).
        """
        batch = wavs[None] if wavs.ndim == 1 else wavs
        shares = torch.ones(len(batch)) if wav_lens is None else wav_lens
        lengths = (shares * batch.shape[1]).round().long().tolist()
        clips = [wave[:length].cpu() for wave, length in zip(batch, lengths, strict=True)]
        vectors: Tensor = self.model.encode(clips, output="torch")[self.space]
        return vectors[:, None]

    def verify_batch(
        self,
        wavs1: Tensor,
        wavs2: Tensor,
        wav1_lens: Tensor | None = None,
        wav2_lens: Tensor | None = None,
        threshold: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compare the waveforms in the same rows.

        Parameters
        ----------
        wavs1, wavs2, wav1_lens, wav2_lens
            As of ``encode_batch``.
        threshold
            Minimum cosine for the same speaker; by default where the calibrated probability of
            that is a half at even odds. SpeechBrain's 0.25 belongs to its own embeddings.

        Returns
        -------
        score
            Cosines, shape (batch, 1).
        prediction
            Whether the speaker is the same, shape (batch, 1).
        """
        first, second = self.encode_batch(wavs1, wav1_lens), self.encode_batch(wavs2, wav2_lens)
        score = (first * second).sum(dim=-1)
        if threshold is not None:
            return score, score > threshold
        return score, torch.from_numpy(self.model.probability(score.numpy(), self.space)) > 0.5

    def verify_files(self, path_x: str | Path, path_y: str | Path) -> tuple[Tensor, Tensor]:
        """Compare two audio files of any format and rate: score and prediction, each of shape (1,)."""
        first, second = (torch.from_numpy(load_audio(path))[None] for path in (path_x, path_y))
        score, prediction = self.verify_batch(first, second)
        return score[0], prediction[0]


if __name__ == "__main__":
    score, prediction = IntervoxSpeakerRecognition().verify_files(sys.argv[1], sys.argv[2])
    print(f"cosine {score.item():.3f}, {'same' if prediction else 'different'} speaker")
