"""Graphs against PyTorch, through onnxruntime, and the folder against a program without Intervox."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from intervox import SubspaceModel, load_model
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError, install_command
from intervox.model.files import default_model_folder
from tests.backbones.test_backbones import FAMILIES, save_family
from tests.conftest import ROOT, Speech

onnx = pytest.importorskip("onnx", reason="pip install intervox[export]")
pytest.importorskip("onnxscript", reason="pip install intervox[export]")
pytest.importorskip("onnxruntime", reason="pip install intervox[export]")

from intervox.export import Exported, export_folder, export_onnx, graph, onnx_file  # noqa: E402
from intervox.export.onnx_file import TOLERANCE, largest_difference, made_clips, run_graph  # noqa: E402

MAPS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "whisper": ("attentive", "concat", {}),
    "wav2vec2-base": ("linear", "sum", {"erase": ["condition"], "erased_directions": 2}),
    "wav2vec2-large": ("attentive", "concat", {}),
    "hubert-base": ("mlp", "concat", {}),
    "hubert-large": ("attentive", "sum", {"erase": ["condition"], "erased_directions": 2}),
    "wavlm-base": ("linear", "sum", {}),
    "wavlm-large": ("mlp", "sum", {}),
    "data2vec": ("linear", "concat", {}),
    "unispeech-sat": ("mlp", "concat", {"erase": ["condition"], "erased_directions": 2}),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The packaged model as a folder."""
    model = SubspaceModel.from_pretrained("default")
    return export_folder(model, tmp_path_factory.mktemp("export") / "default")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[SubspaceModel, graph.Parts]:
    """A tiny model and what is traced of it, which takes seconds."""
    model = family_model("hubert-base", tmp_path_factory.mktemp("tiny"))
    return model, graph.trace(model)


@pytest.fixture
def tiny(traced: tuple[SubspaceModel, graph.Parts], monkeypatch: pytest.MonkeyPatch) -> SubspaceModel:
    """The tiny model, traced before."""
    monkeypatch.setattr(onnx_file, "trace", lambda _model: traced[1])
    return traced[0]


def nodes(model_graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of those inside it."""
    for node in model_graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def family_model(family: str, folder: Path, used: Sequence[int] = (0, 2)) -> SubspaceModel:
    """Random subspaces on a tiny backbone of a family; clips are cut after half a second."""
    backbone = load_backbone(str(save_family(family, folder)))
    kind, combine, more = MAPS[family]
    torch.manual_seed(0)
    first = {
        "factor": "speaker",
        "dim": 3,
        "width": 7,
        "layers": used,
        "map": kind,
        "combine": combine,
    } | more
    other = first | {"factor": "content", "dim": 2, "map": "orthogonal" if kind == "orthogonal" else "linear"}
    spaces = {"speaker": first, "content": other}
    model = SubspaceModel(
        str(folder), backbone.layers, backbone.dim, spaces, backbone.fingerprint, window_seconds=0.5
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    means = torch.randn(60, backbone.layers, backbone.dim)
    model.set_standardisation(means.mean(dim=0), means.std(dim=0))
    if more:
        for name in model.subspaces:
            model.fit_erasure(name, means, {"condition": np.arange(60) % 4})
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.long] * (name != "whisper")) for name in MAPS],
)
def test_every_family_and_map_gives_the_vectors_of_pytorch(family: str, tmp_path: Path) -> None:
    last = (
        4 if family == "whisper" or family.endswith("-large") else 3
    )  # a final norm follows the third block
    model = family_model(family, tmp_path / "backbone", (0, last))
    path = tmp_path / "model.onnx"
    onnx.save(graph.join(model, graph.trace(model)), path)
    # One window, several, and several of which some are a sample longer.
    clips = [clip for clip in made_clips(0.5) if len(clip) <= 50_000]
    assert {len(clip) % 3 for clip in clips if len(clip) > 24_000} >= {0, 1}
    found, wanted = run_graph(path, clips), model.encode(clips)
    for name, vectors in wanted.items():
        assert vectors.std(axis=0).max() > 0.01
        np.testing.assert_allclose(found[name], vectors, atol=TOLERANCE, rtol=0)


@pytest.mark.slow
def test_subspaces_of_one_network_are_exported(tmp_path: Path) -> None:
    backbone = load_backbone(str(save_family("hubert-base", tmp_path / "backbone")))
    # Halves of unlike size, and in an order that files do not keep.
    spaces = {
        name: {"factor": name, "dim": dim, "layers": [2], "map": "shared"}
        for name, dim in (("speaker", 5), ("content", 3))
    }
    shared = {"width": 9, "hidden": 3}
    model = SubspaceModel(
        str(tmp_path / "backbone"), backbone.layers, backbone.dim, spaces, backbone.fingerprint, shared=shared
    )
    model.save_pretrained(tmp_path / "saved")
    exported = export_folder(SubspaceModel.from_pretrained(tmp_path / "saved"), tmp_path / "exported")
    clips = made_clips(0.5)[:3]
    wanted, found = model.encode(clips), run_graph(exported.graph, clips)
    loaded = load_model(tmp_path / "exported").encode(clips)
    for name, dim in (("speaker", 5), ("content", 3)):
        assert wanted[name].shape == (3, dim)
        np.testing.assert_allclose(found[name], wanted[name], atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(loaded[name], wanted[name], atol=TOLERANCE, rtol=0)


def test_all_families_are_tested() -> None:
    assert set(MAPS) == {*FAMILIES, "whisper"}


def test_the_packaged_model_agrees_on_clips_of_any_length(exported: Exported, speech: Speech) -> None:
    model = SubspaceModel.from_pretrained("default")
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.1, 0.6, 3.9, 4.1, 13.37, 60.0))]
    found, wanted = run_graph(exported.graph, clips), model.encode(clips)
    for name, vectors in wanted.items():
        np.testing.assert_allclose(found[name], vectors, atol=TOLERANCE, rtol=0)
    assert exported.check.difference <= TOLERANCE
    assert (exported.check.shortest, exported.check.longest) == (0.1, 60)


def test_int8_is_small_and_close_and_leaves_the_spectrum_and_the_subspaces_alone(
    exported: Exported, speech: Speech
) -> None:
    packaged = default_model_folder() / "model.onnx"
    assert packaged.stat().st_size < 0.4 * exported.graph.stat().st_size
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.5, 1.0, 3.0, 9.0))]
    fp32, int8 = (run_graph(path, clips) for path in (exported.graph, packaged))
    for name, vectors in fp32.items():
        cosines = (vectors * int8[name]).sum(axis=1)
        assert 0.99 < cosines.min() < 1 - 1e-6
    found = list(nodes(onnx.load(packaged).graph))
    weights = [node for node in found if node.op_type == "MatMulInteger"]
    constants = {node.output[0]: node.attribute[0].t for node in found if node.op_type == "Constant"}
    # Six matrices a block; unsigned, because signed ones overflow on some processors.
    assert len(weights) == 24
    assert {constants[node.input[1]].data_type for node in weights} == {onnx.TensorProto.UINT8}
    assert sum(node.op_type == "Conv" for node in found) == 3


def test_the_graph_is_one_file_of_standard_operators_that_says_what_it_is(exported: Exported) -> None:
    for path in (exported.graph, default_model_folder() / "model.onnx"):
        written = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(written)
        assert {(one.domain, one.version) for one in written.opset_import} == {("", graph.OPSET)}
        assert {node.domain for node in nodes(written.graph)} == {""}
        assert not written.functions
        said = {entry.key: entry.value for entry in written.metadata_props}
        assert said["opset"] == "18"
        assert said["sample_rate"] == "16000"
        shapes = {
            one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]
            for one in (*written.graph.input, *written.graph.output)
        }
        assert shapes == {
            "audio": ["clips", "samples"],
            "lengths": ["clips"],
            "content": ["clips", 48],
            "speaker": ["clips", 96],
            "content.frames": ["frames", 48],
            "speaker.frames": ["frames", 96],
            "frame_counts": ["clips"],
        }


@pytest.mark.slow
def test_layers_that_no_subspace_reads_are_left_out(
    traced: tuple[SubspaceModel, graph.Parts], tmp_path: Path
) -> None:
    lower = graph.trace(family_model("hubert-base", tmp_path, used=(0, 1)))
    blocks = load_backbone(str(tmp_path)).blocks
    block = sum(tensor.nbytes for tensor in blocks[0].state_dict().values())
    assert (lower.layers, traced[1].layers) == (2, 3)
    assert traced[1].encoder.ByteSize() - lower.encoder.ByteSize() > block


@pytest.mark.slow
def test_subspaces_may_have_the_names_of_values_inside(tmp_path: Path) -> None:
    backbone = load_backbone(str(save_family("hubert-base", tmp_path / "backbone")))
    spaces = {name: {"factor": name, "dim": 2, "layers": [0]} for name in ("frames", "2 styles", "share")}
    model = SubspaceModel(backbone.name, backbone.layers, backbone.dim, spaces)
    export_onnx(model, tmp_path / "model.onnx")
    (clip,) = [clip for clip in made_clips(4.0) if len(clip) == 16_000]
    assert run_graph(tmp_path / "model.onnx", [clip]).keys() == spaces.keys()


def test_a_graph_does_not_say_where_it_was_made(
    traced: tuple[SubspaceModel, graph.Parts], exported: Exported
) -> None:
    parts = [part.SerializeToString() for part in (traced[1].encoder, traced[1].heads)]
    for data in (*parts, exported.graph.read_bytes(), (default_model_folder() / "model.onnx").read_bytes()):
        assert b"stack_trace" not in data
        assert b"site-packages" not in data
        assert b"export/encoders" not in data


def test_a_graph_that_differs_is_not_written(tiny: SubspaceModel, tmp_path: Path) -> None:
    tiny.mean += 0.1
    try:
        with pytest.raises(IntervoxError, match=r"differs from PyTorch's by .* more than 0.0001"):
            export_onnx(tiny, tmp_path / "model.onnx")
        with pytest.raises(IntervoxError, match="differs"):
            export_folder(tiny, tmp_path / "out")
    finally:
        tiny.mean -= 0.1
    assert not list(tmp_path.iterdir())


def test_nan_is_a_difference(tiny: SubspaceModel) -> None:
    clips = made_clips(0.5)[:2]
    found = tiny.encode(clips)
    assert largest_difference(tiny, found, clips) == 0
    found["content"][1, 0] = np.nan
    with pytest.raises(
        IntervoxError, match="content vector of a clip of 0.3 s differs from PyTorch's by nan"
    ):
        largest_difference(tiny, found, clips)


def test_the_folder_is_a_model_too(exported: Exported, speech: Speech, tmp_path: Path) -> None:
    clip = speech(1.0, 3)
    original = SubspaceModel.from_pretrained("default")
    again = SubspaceModel.from_pretrained(exported.folder)
    np.testing.assert_array_equal(again.encode([clip])["speaker"], original.encode([clip])["speaker"])
    assert again.calibration == original.calibration
    assert again.references is not None


def test_config_says_what_another_program_has_to_know(exported: Exported, speech: Speech) -> None:
    about = json.loads((exported.folder / "config.json").read_text())["onnx"]
    assert about["sample_rate"] == 16_000
    assert about["inputs"] == {"audio": ["clips", "samples"], "lengths": ["clips"]}
    assert about["outputs"] == ["content", "speaker"]
    assert about["dims"] == {"content": 48, "speaker": 96}
    clips = [speech(1.0, 1), speech(2.0, 2)]
    vectors = run_graph(exported.folder / about["file"], clips)["speaker"]
    values = dict(zip(about["calibration_fields"], about["calibration"]["speaker"], strict=True))
    formula = about["probability"].split(":")[0]
    score = float(vectors[0] @ vectors[1])
    probability = eval(
        formula, {"exp": np.exp, "log": np.log, "score": score, "short": 1.0, "long": 2.0, **values}
    )
    said = SubspaceModel.from_pretrained("default").compare(clips[0], clips[1])
    assert score == pytest.approx(said.score, abs=1e-4)
    assert probability == pytest.approx(said.probability, abs=1e-4)


def test_the_example_needs_neither_intervox_nor_torch(
    exported: Exported, speech: Speech, tmp_path: Path
) -> None:
    example = exported.folder / "example.py"
    assert len(example.read_text().splitlines()) <= 20
    sf.write(tmp_path / "a.wav", np.stack([speech(1.0, 1), speech(1.0, 4)], axis=1), 16_000)
    sf.write(tmp_path / "b.wav", speech(5.0, 2), 44_100)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('intervox', 'torch', 'transformers'):\n    sys.modules[name] = None\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(example), "a.wav", "b.wav"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["content", "speaker"]
    model = SubspaceModel.from_pretrained("default")
    vectors = model.encode([tmp_path / "a.wav", tmp_path / "b.wav"])
    for line in lines:
        space = line.split(":")[0]
        said = model.decide(float(vectors[space][0] @ vectors[space][1]), space, (1.0, 5.0))
        words = line.replace(",", "").split()
        assert float(words[2]) == pytest.approx(said.score, abs=2e-3)
        assert float(words[-4]) == pytest.approx(said.probability, abs=5e-3)


def test_the_card_keeps_what_was_measured(exported: Exported, tmp_path: Path) -> None:
    card = (exported.folder / "README.md").read_text()
    own = (default_model_folder() / "README.md").read_text().split("\n## In ONNX\n")[0]
    assert own[own.index("## What was measured") :].strip() in card
    assert "Not measured" not in card
    assert "- onnx\n" in card
    assert "MIT licence" in card
    assert f"`model.onnx` ({exported.graph.stat().st_size / 1e6:.1f} MB, fp32)" in card
    assert f"differs from PyTorch by {exported.check.difference:.1g}" in card


def test_an_export_is_replaced_and_its_card_does_not_grow(
    tiny: SubspaceModel, tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    first = export_folder(tiny, folder, "int8")
    assert first.check.int8 is not None
    card = (folder / "README.md").read_text()
    assert "Not measured" in card
    assert "weights of eight bits" in card
    assert f"speaker {first.check.int8['speaker'].lowest:.4f}" in card
    again = export_folder(SubspaceModel.from_pretrained(folder), folder, clips=[speech(1.0, 0)])
    assert again.check.given == 1
    card = (folder / "README.md").read_text()
    assert card.count("## In ONNX") == card.count("- onnx\n") == 1

    def interrupt(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_file, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_folder(tiny, folder)
    with pytest.raises(KeyboardInterrupt):
        export_folder(tiny, tmp_path / "new")
    # The export before is whole; of the new ones nothing is left.
    assert (folder / "README.md").read_text() == card
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_killed_exports_leftovers_go_with_the_next(tiny: SubspaceModel, tmp_path: Path) -> None:
    leftover = tmp_path / f".out.99999999@{socket.gethostname()}.tmp"
    leftover.mkdir()
    (leftover / "model.onnx").write_text("half")
    export_folder(tiny, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    model = SubspaceModel.from_pretrained("default")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(IntervoxError, match="holds files that no export wrote"):
        export_folder(model, tmp_path / "model")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IntervoxError, match="holds files that no export wrote"):
        export_folder(model, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_backbone_too_large_for_a_file_is_named(
    traced: tuple[SubspaceModel, graph.Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "_LARGEST", 10_000)
    with pytest.raises(IntervoxError, match=r"an ONNX file ends at 2: refine on lower layers"):
        graph.trace(traced[0])


def test_missing_packages_name_the_extra() -> None:
    code = "import sys; sys.modules['onnxscript'] = None\nfrom intervox.export import export_onnx"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "a graph in ONNX needs the package 'onnxscript'" in done.stderr
    assert install_command("export") in done.stderr
