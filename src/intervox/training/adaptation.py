"""Training of a backbone's adapter from waveforms, with the gradient of batches that exceed the memory."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.clips.batches import by_length
from intervox.clips.corpus import Corpus
from intervox.clips.source import load_clip
from intervox.errors import IntervoxError
from intervox.features.extraction import cut_windows
from intervox.features.store import Features
from intervox.model.files import CONFIG
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.recipe import FeatureSettings, Recipe
from intervox.seeds import rng
from intervox.storage import StepFolder, read_json, stable_hash, write_json
from intervox.training.cells import BlockSampler, TrainingCells, training_cells
from intervox.training.checkpoint import (
    CHECKPOINT,
    LossRecord,
    TrainingRecord,
    load_checkpoint,
    save_checkpoint,
)
from intervox.training.loop import learning_rate
from intervox.training.lora import add_lora, save_adapter
from intervox.training.losses import MultiPart, MultiPartLoss, columns

SCHEMA_VERSION = 2
RECORD = "adaptation.json"

Vectors = dict[str, Tensor]
"""Subspace to unit vectors, shape (clips, dim)."""


def adapt(corpus: Corpus, features: Features, recipe: Recipe, start: Path, folder: Path) -> None:
    """Train an adapter of the recipe's backbone, or resume from the last checkpoint.

    Parameters
    ----------
    corpus
        Whose audio is read, a step's cells at a time.
    features
        Of this corpus and backbone: they say which cells can be encoded.
    recipe
        ``adaptation``, ``loss``, ``features``, ``subspaces`` and ``seed`` are read.
    start
        Folder of the refined model whose maps are the start.
    folder
        Where the adapter goes, for ``load_backbone``, and the maps that were trained with it
        (``model``).

    Raises
    ------
    IntervoxError
        The settings don't fit the backbone, it is not the one that the features are of, or the loss
        is not finite.
    """
    if Path(recipe.backbone).resolve() == folder.resolve():
        raise IntervoxError(
            f"the recipe's backbone {recipe.backbone} is the adapter that this run would write: give the "
            "recipe another name"
        )
    model = SubspaceModel.from_pretrained(start)
    backbone = load_backbone(recipe.backbone)
    if backbone.fingerprint != features.about["fingerprint"]:
        raise IntervoxError(
            f"the weights of {recipe.backbone} are not those of the features: run `intervox extract` first"
        )
    chosen = training_cells(corpus.cells, features, columns(recipe.subspaces, recipe.loss))
    trainer = _Trainer(backbone, model.to(backbone.device), recipe)
    # Only now: settings that can't be used must not cost an earlier adapter.
    step = StepFolder(folder, _key(start, recipe))
    if step.complete:
        return
    history = trainer.run(corpus, chosen, folder)
    fingerprint = save_adapter(trainer.adapter, backbone, folder)
    _save_model(model, start, folder, fingerprint)
    settings = recipe.adaptation.model_dump(mode="json")
    logged = [record.model_dump() for record in history]
    write_json(folder / RECORD, {"key": step.key, "settings": settings, "history": logged})
    step.finish()
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _key(start: Path, recipe: Recipe) -> str:
    """Hash everything that decides the adapter's weights; the model's own key stands for all before it."""
    settings = recipe.adaptation.model_dump(mode="json")
    model = TrainingRecord.read(start).key
    return stable_hash([SCHEMA_VERSION, model, settings, recipe.features.batch_seconds])


class _Trainer:
    """Backbone, maps and loss, and the optimiser over whatever of them is trained."""

    def __init__(self, backbone: Backbone, model: SubspaceModel, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.backbone, self.model, self.recipe = backbone, model, recipe
        every = range(backbone.layers)
        # Nothing above the last layer that a subspace uses needs computing.
        self.highest = max(max(every if s.layers is None else s.layers) for s in recipe.subspaces.values())
        self.adapter = add_lora(backbone, recipe.adaptation, self.highest)
        self.loss = MultiPart(recipe.subspaces, recipe.loss).to(backbone.device)
        lora = nn.ParameterList(p for p in backbone.model.parameters() if p.requires_grad)
        self.modules: dict[str, nn.Module] = {"lora": lora, "model": model, "loss": self.loss}
        trained = [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, weight_decay=0.0)

    def run(self, corpus: Corpus, chosen: TrainingCells, folder: Path) -> list[LossRecord]:
        """Run the steps that are left and return one record for each step."""
        settings = self.recipe.adaptation
        progress = load_checkpoint(folder, self.modules, self.optimizer)
        sampler = BlockSampler(chosen.blocks, chosen.labels, settings.blocks_per_step, self.recipe.seed)
        with progress_bar("adapting", settings.steps, "steps") as bar:
            bar.advance(progress.step)
            for step in range(progress.step, settings.steps):
                begun = time.monotonic()
                batch, labels = sampler.batch(step)
                result = self._step(step, read_waves(corpus, chosen.rows[batch]), labels)
                progress.history.append(LossRecord.of(step, result, "lower adaptation.learning_rate"))
                progress.step = step + 1
                if progress.step % settings.checkpoint_every == 0:
                    save_checkpoint(folder, progress, self.modules, self.optimizer)
                seconds = time.monotonic() - begun
                bar.advance(1, f"{seconds:.1f} s a step · loss {progress.history[-1].total:.3f}")
        return progress.history

    def _step(
        self, step: int, waves: list[Waveform], by_column: dict[str, NDArray[np.int64]]
    ) -> MultiPartLoss:
        device = self.backbone.device
        labels = {name: torch.from_numpy(values).to(device) for name, values in by_column.items()}
        waves = self._crop(waves, step)
        results: list[MultiPartLoss] = []

        def encode(batch: Sequence[int]) -> Vectors:
            # Dropout has to be alike whenever a step's clip is encoded, also after an interruption.
            torch.manual_seed(
                int(rng(self.recipe.seed, "adaptation.dropout", step, batch[0]).integers(2**62))
            )
            clips = [waves[number] for number in batch]
            return encode_with_gradient(self.model, self.backbone, clips, self.recipe.features, self.highest)

        def loss(vectors: Vectors) -> Tensor:
            results.append(self.loss(vectors, labels))
            return results[0].total

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.recipe.adaptation)
        self.optimizer.zero_grad()
        cached_step(encode, micro_batches(waves, self.recipe.features), loss)
        self.optimizer.step()
        return results[0]

    def _crop(self, waves: list[Waveform], step: int) -> list[Waveform]:
        """Show maps that pool frames a stretch of each clip, as their training does."""
        if not self.model.reads_frames:
            return waves
        length = round(self.recipe.training.crop_seconds * SAMPLE_RATE)
        random = rng(self.recipe.seed, "adaptation.crops", step)
        starts = [int(random.integers(max(1, len(wave) - length + 1))) for wave in waves]
        return [wave[start : start + length] for wave, start in zip(waves, starts, strict=True)]


def cached_step(
    encode: Callable[[Sequence[int]], Vectors],
    batches: Sequence[Sequence[int]],
    loss: Callable[[Vectors], Tensor],
) -> Tensor:
    """Evaluate a loss that couples all clips and add its gradients to every parameter's ``grad``.

    A contrastive loss compares each clip with every other, so the losses of micro-batches are not
    parts of it. GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
    limited setup"): the vectors of all clips without a graph; the loss and its gradient with regard to
    them; then each micro-batch once more with a graph, through which its vectors' gradient flows back.
    The graph in memory is never larger than a micro-batch's.

    Parameters
    ----------
    encode
        From numbers of clips to their vectors, differentiable; the same each time, dropout included.
    batches
        The micro-batches, which hold each number from 0 on once, in any order.
    loss
        From the vectors of all clips, in the order of their numbers, to a scalar; called once.

    Returns
    -------
    Tensor
        The loss, without a graph.
    """
    with torch.no_grad():
        parts = [encode(batch) for batch in batches]
    vectors = {space: torch.cat([part[space] for part in parts]) for space in parts[0]}
    for whole in vectors.values():
        whole.requires_grad_()
        whole.grad = torch.zeros_like(whole)
    order = torch.argsort(torch.tensor([number for batch in batches for number in batch]))
    value = loss({space: whole[order.to(whole.device)] for space, whole in vectors.items()})
    torch.autograd.backward(value)
    sizes = [len(batch) for batch in batches]
    gradients = {space: torch.split(cast(Tensor, whole.grad), sizes) for space, whole in vectors.items()}
    for index, batch in enumerate(batches):
        again = encode(batch)
        torch.autograd.backward(
            [again[space] for space in gradients], [gradient[index] for gradient in gradients.values()]
        )
    return value.detach()


def encode_with_gradient(
    model: SubspaceModel,
    backbone: Backbone,
    waves: Sequence[Waveform],
    settings: FeatureSettings,
    highest: int,
) -> Vectors:
    """Embed clips in one batch, as ``SubspaceModel.encode`` embeds them.

    Parameters
    ----------
    waves
        Cut into windows of at most ``settings.window_seconds``, as for the feature cache.
    highest
        Last layer that the model uses: the backbone's forward ends there.
    """
    windows = [cut_windows(wave, settings) for wave in waves]
    states = backbone.states([part for parts in windows for part in parts], highest)
    clips, mask = _join(states.layers, states.frames, [len(parts) for parts in windows])
    # Higher layers are of no subspace: what stands there does not matter.
    vectors: Vectors = model(pad(clips, (0, 0, 0, backbone.layers - 1 - highest)), mask)
    return vectors


def _join(layers: Tensor, frames: Tensor, windows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Put the real frames of each clip's windows in a row: (clips, time, layers, dim), and a mask."""
    real = [part[:, :count].transpose(0, 1) for part, count in zip(layers, frames.tolist(), strict=True)]
    ends = torch.tensor(windows).cumsum(0).tolist()
    clips = [torch.cat(real[end - count : end]) for end, count in zip(ends, windows, strict=True)]
    lengths = torch.tensor([len(clip) for clip in clips], device=layers.device)
    padded = pad_sequence(clips, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=layers.device) < lengths[:, None]


def micro_batches(waves: Sequence[Waveform], settings: FeatureSettings) -> list[list[int]]:
    """Group clips of like length so that a group's padded windows stay under ``batch_seconds``.

    A clip that is longer than that on its own is a group of its own.
    """
    windows = [cut_windows(wave, settings) for wave in waves]
    lengths, rows = [len(parts[0]) for parts in windows], [len(parts) for parts in windows]
    return list(by_length(lengths, settings.batch_seconds * SAMPLE_RATE, rows))


def read_waves(corpus: Corpus, cells: NDArray[np.int64]) -> list[Waveform]:
    """Decode some cells of a corpus, in the order given, with one shard's bytes in memory at a time."""
    waves: dict[int, Waveform] = {}
    shards = cells // corpus.about.shard_size
    for shard in np.unique(shards):
        wanted = pc.field("cell_id").isin(cells[shards == shard].tolist())
        for row in corpus.read_shard(int(shard), ["cell_id", "audio"]).filter(wanted).to_pylist():
            clip = load_clip(row["cell_id"], (row["audio"] or {}).get("bytes") or b"")
            if clip.wave is None:
                raise IntervoxError(
                    f"cell {clip.cell_id} of {corpus.folder} can't be read any more ({clip.error}): run "
                    "`intervox corpus check`"
                )
            waves[clip.cell_id] = clip.wave
    return [waves[cell] for cell in cells.tolist()]


def _save_model(model: SubspaceModel, start: Path, folder: Path, fingerprint: str) -> None:
    """Write the maps as a model of the adapted backbone; what was measured of the old one is not its own."""
    config = read_json(start / CONFIG)
    kept = {name: config[name] for name in ("layers", "dim", "subspaces", "window_seconds")}
    adapted = SubspaceModel(str(folder), fingerprint=fingerprint, **kept)
    state = model.state_dict()
    adapted.load_state_dict({name: state[name] for name in adapted.state_dict()})
    adapted.save_pretrained(folder / "model")
