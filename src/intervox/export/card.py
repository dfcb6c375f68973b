"""The card of an exported folder: the model's own, and what was found of its graphs."""

from pathlib import Path

from huggingface_hub import ModelCard

from intervox.backbones.bundled import BUNDLED
from intervox.default_model import DEFAULT, default_model_folder
from intervox.export.check import TOLERANCE, Check
from intervox.export.graph import OPSET
from intervox.subspaces.model import SubspaceModel

_HEADING = "## In ONNX"

_SECTION = """{heading}

The graphs hold the backbone `{backbone}` and every subspace. `audio` in: float32, mono, 16 kHz, 25 ms or \
more; one unit vector a subspace out. Opset {opset}, standard operators only, onnxruntime on a CPU. \
`example.py` uses them without Intervox and PyTorch; `config.json` says under `onnx` what a program has to \
know, the calibration too. `SubspaceModel.from_pretrained` takes `model.safetensors` and finds the backbone \
by its name.

| file | size | agreement |
| --- | --- | --- |
{rows}

Found on {clips} clips of {shortest:g} to {longest:g} s when this folder was written: {made} speech-like \
sounds made by a formula, and {given} given recordings. A graph that differs from PyTorch by more than \
{tolerance:g} is not written. All figures above are of the PyTorch model.

The backbone's weights in the graphs keep their own licence{licence}.
"""

_LICENCES = {BUNDLED: ": Whisper tiny.en, Copyright (c) 2022 OpenAI, MIT licence"}


def export_card(model: SubspaceModel, check: Check, folder: Path, files: dict[str, str]) -> str:
    """Write the card of a folder that holds graphs.

    Parameters
    ----------
    files
        Precision, ``fp32`` and perhaps ``int8``, to the graph's file name in the folder.
    """
    card = ModelCard(own_card(model))
    card.data["tags"] = list(dict.fromkeys([*(card.data.get("tags") or []), "onnx"]))
    agreements = {"fp32": f"PyTorch: largest difference {check.difference:.1g}"}
    if check.int8 is not None:
        cosines = [f"{name} {one.lowest:.4f} / {one.mean:.4f}" for name, one in check.int8.items()]
        agreements["int8"] = "fp32: lowest / mean cosine, " + ", ".join(cosines)
    rows = [
        f"| `{file}` | {(folder / file).stat().st_size / 1e6:.1f} MB | {agreements[precision]} |"
        for precision, file in files.items()
    ]
    section = _SECTION.format(
        heading=_HEADING,
        backbone=model.backbone_name,
        opset=OPSET,
        rows="\n".join(rows),
        clips=check.clips,
        shortest=check.shortest,
        longest=check.longest,
        made=check.clips - check.given,
        given=check.given,
        tolerance=TOLERANCE,
        licence=_LICENCES.get(model.backbone_name, ""),
    )
    return f"---\n{card.data}\n---\n\n{card.text.strip()}\n\n{section}"


def own_card(model: SubspaceModel) -> str:
    """Return the card with the measured figures, where the model was loaded from; or one that says so."""
    name = model.name
    folder = default_model_folder() if name == DEFAULT else Path(name)
    try:
        if name and folder.is_dir():
            card = (folder / "README.md").read_text(encoding="utf-8")
        elif name:
            card = ModelCard.load(name).content
        else:
            card = str(model.generate_model_card())
    except OSError:  # a hub's failures are OSErrors too
        card = str(model.generate_model_card())
    return card.split(f"\n{_HEADING}\n")[0]
