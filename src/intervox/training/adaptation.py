"""Training of the adapter: waveforms in, an adapted backbone out, in one readable loop."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus, load_clip
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.recipe import Recipe
from intervox.recipe.training import TrainingSettings
from intervox.seeds import rng
from intervox.storage import StepFolder, read_json, stable_hash, write_json
from intervox.training.cells import TrainingCells, training_cells
from intervox.training.checkpoint import CHECKPOINT, Record, load_checkpoint, save_checkpoint
from intervox.training.loop import learning_rate
from intervox.training.lora import (
    Vectors,
    add_lora,
    cached_step,
    encode_with_gradient,
    micro_batches,
    save_adapter,
)
from intervox.training.losses import MultiPart, MultiPartLoss, columns
from intervox.training.sampler import BlockSampler

SCHEMA_VERSION = 1
RECORD = "adaptation.json"


def adapt(corpus: Corpus, features: Features, recipe: Recipe, start: Path, folder: Path) -> None:
    """Train an adapter of the recipe's backbone, or go on from the last checkpoint.

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
    write_json(folder / RECORD, {"key": step.key, "settings": settings, "history": history})
    step.finish()
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _key(start: Path, recipe: Recipe) -> str:
    """Hash everything that decides the adapter's weights; the model's own key stands for all before it."""
    model = read_json(start / "training.json", "key")["key"]
    settings = recipe.adaptation.model_dump(mode="json")
    return stable_hash([SCHEMA_VERSION, model, settings, recipe.features.batch_seconds])


class _Trainer:
    """Backbone, maps and loss, and the optimiser over whatever of them is trained."""

    def __init__(self, backbone: Backbone, model: SubspaceModel, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.backbone, self.model, self.recipe = backbone, model, recipe
        self.highest = _highest_layer(recipe, backbone)
        self.adapter = add_lora(backbone, recipe.adaptation, self.highest)
        self.loss = MultiPart(recipe.subspaces, recipe.loss).to(backbone.device)
        lora = nn.ParameterList(p for p in backbone.model.parameters() if p.requires_grad)
        self.modules: dict[str, nn.Module] = {"lora": lora, "model": model, "loss": self.loss}
        trained = [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
        chosen = recipe.adaptation.model_dump(include={"steps", "learning_rate", "warmup_steps"})
        self.schedule = TrainingSettings.model_validate(chosen)

    def run(self, corpus: Corpus, chosen: TrainingCells, folder: Path) -> list[Record]:
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
                progress.history.append(_record(step, result))
                progress.step = step + 1
                if progress.step % settings.checkpoint_every == 0:
                    save_checkpoint(folder, progress, self.modules, self.optimizer)
                seconds = time.monotonic() - begun
                bar.advance(1, f"{seconds:.1f} s a step · loss {progress.history[-1]['total']:.3f}")
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
            results.append(self.loss(vectors, labels, self.model.temperatures(), self.model.maps()))
            return results[0].total

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.schedule)
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


def read_waves(corpus: Corpus, cells: NDArray[np.int64]) -> list[Waveform]:
    """Decode some cells of a corpus, in the order given, with one shard's bytes in memory at a time."""
    waves: dict[int, Waveform] = {}
    shards = cells // corpus.about["shard_size"]
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


def _highest_layer(recipe: Recipe, backbone: Backbone) -> int:
    """Last layer that a subspace uses: nothing above it needs computing."""
    every = range(backbone.layers)
    return max(max(every if s.layers is None else s.layers) for s in recipe.subspaces.values())


def _record(step: int, loss: MultiPartLoss) -> Record:
    total = round(float(loss.total.detach()), 6)
    if not math.isfinite(total):
        raise IntervoxError(f"the loss is {total} at step {step}: lower adaptation.learning_rate")
    parts = {name: round(float(part.detach()), 6) for name, part in loss.parts.items()}
    dropped = {f"dropped_{name}": count for name, count in loss.dropped.items()}
    return {"step": step, "total": total, **parts, **dropped}


def _save_model(model: SubspaceModel, start: Path, folder: Path, fingerprint: str) -> None:
    """Write the maps as a model of the adapted backbone; the old one's calibration is not its own."""
    about = {"backbone": str(folder), "fingerprint": fingerprint, "calibration": {}}
    adapted = SubspaceModel(**read_json(start / "config.json") | about)
    adapted.load_state_dict(model.state_dict())
    adapted.save_pretrained(folder / "model")
