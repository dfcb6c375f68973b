"""Intervox as the speaker embedding of a pyannote.audio diarization pipeline.

It has the interface of what pyannote.audio's ``PretrainedSpeakerEmbedding`` returns, and needs nothing of
pyannote itself. Embeddings of another kind need another clustering than the default VBx, whose model was
trained on its own:

    pipeline = SpeakerDiarization(clustering="AgglomerativeClustering", ...)
    pipeline._embedding = IntervoxSpeakerEmbedding()

Run it to compare two clips: ``python examples/pyannote_embedding.py a.wav b.wav``
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from intervox import load_model
from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, SILENCE, load_audio


class IntervoxSpeakerEmbedding:
    """A callable from waveforms and masks to embeddings.

    Parameters
    ----------
    model
        Name or folder of a refined model.
    space
        Which of its subspaces.
    """

    sample_rate = SAMPLE_RATE
    metric = "cosine"
    min_num_samples = MIN_SAMPLES

    def __init__(self, model: str = "default", space: str = "speaker") -> None:
        self.space = space
        self.model = load_model(model)
        self.model.check_space(space)

    @property
    def dimension(self) -> int:
        """Of an embedding."""
        return int(self.model.dims[self.space])

    def to(self, _device: torch.device) -> "IntervoxSpeakerEmbedding":
        """Stay where it is: the backbone takes a GPU by itself where there is one."""
        return self

    def __call__(self, waveforms: Tensor, masks: Tensor | None = None) -> NDArray[np.float32]:
        """Embed what a mask leaves of each waveform.

        Parameters
        ----------
        waveforms
            Shape (batch, channels, samples) at 16 kHz; channels are averaged.
        masks
            Weights in [0, 1], shape (batch, frames) with any number of frames. Samples whose nearest
            frame weighs half or less are cut out before anything hears them, as in pyannote's own
            components, so that another speaker in them can't leak in through the backbone's context.

        Returns
        -------
        ndarray
            Shape (batch, dimension). Rows of NaN, which pyannote's clustering leaves out, where less
            than ``min_num_samples`` remain or only silence does.
        """
        mono = waveforms.mean(dim=1)
        if masks is None:
            masks = torch.ones_like(mono)
        kept = interpolate(masks[:, None].float(), size=mono.shape[-1], mode="nearest")[:, 0] > 0.5
        clips = [wave[mask].cpu() for wave, mask in zip(mono, kept, strict=True)]
        usable = [
            row
            for row, clip in enumerate(clips)
            if len(clip) >= self.min_num_samples and clip.abs().max() >= SILENCE
        ]
        found = np.full((len(clips), self.dimension), np.nan, np.float32)
        found[usable] = self.model.encode([clips[row] for row in usable])[self.space]
        return found


if __name__ == "__main__":
    embed = IntervoxSpeakerEmbedding()
    first, second = (embed(torch.from_numpy(load_audio(path))[None, None])[0] for path in sys.argv[1:3])
    print(f"cosine {first @ second:.3f}")
