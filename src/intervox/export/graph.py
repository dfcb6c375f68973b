"""One ONNX graph of backbone and subspaces: cut into windows, encode each, pool, project.

The encoder of a window and the subspaces are traced by ``torch.onnx.export``. What joins them, loops
over the clips of a batch and the windows of a clip, is written in ONNX's own text form and calls them
as functions, which are then inlined: the file holds standard operators alone. Loops, not batches:
windows may differ by a sample, memory is that of one window, and the encoder sees each one alone,
without padding or masks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import FunctionProto, GraphProto, ModelProto, compose, helper, inliner, parser
from torch import Tensor, nn

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from intervox.export.encoders import clip_encoder
from intervox.model.heads import Heads
from intervox.model.model import SubspaceModel
from intervox.model.onnx_model import AUDIO, FRAMES, KEY
from intervox.progress import quiet

OPSET = 18
"""Of every graph: the lowest that ``torch.onnx.export`` writes, so that old runtimes read it."""

_IR_VERSION = 10
_DOMAIN = "intervox"
_LARGEST = 2_000_000_000
"""Bytes: an ONNX file is one protobuf message, which ends at 2 GiB."""


@dataclass(frozen=True)
class Parts:
    """What a graph is joined from.

    Attributes
    ----------
    encoder
        From a window (samples,) to its states (frames, layers, dim).
    heads
        From means or frames (n, layers, dim) to vectors of all subspaces side by side (n, width), not
        scaled to unit length.
    pooled
        From all frames of one clip (frames, layers, dim) to (1, width), where a map reads frames.
    spaces
        Name to dim of the subspaces, in that order.
    layers, dim
        Of the states: up to the highest layer that a subspace reads.
    """

    encoder: ModelProto
    heads: ModelProto
    pooled: ModelProto | None
    spaces: dict[str, int]
    layers: int
    dim: int


class _Heads(nn.Module):
    """All subspaces side by side: of many clips by their means, or of one clip by its frames."""

    def __init__(self, model: SubspaceModel, layers: int, one_clip: bool) -> None:
        super().__init__()
        settings = {name: model.subspace(name).settings for name in model.subspaces}
        heads = Heads(model.mean.shape[0], model.mean.shape[1], settings, model.shared_settings)
        state = model.state_dict()
        heads.load_state_dict({name: state[name] for name in heads.state_dict()})
        heads.mean, heads.scale = heads.mean[:layers], heads.scale[:layers]
        self.heads = heads.requires_grad_(False)
        self.one_clip = one_clip

    def forward(self, states: Tensor) -> Tensor:
        return torch.cat(list(self.heads.mapped(states[None] if self.one_clip else states).values()), dim=1)


def trace(model: SubspaceModel) -> Parts:
    """Trace a model's backbone and subspaces.

    Raises
    ------
    IntervoxError
        The backbone can't be loaded or exported, or is too large for one file.
    """
    layers = 1 + max(max(model.subspace(name).used) for name in model.subspaces)
    longest = math.ceil(model.window_seconds * SAMPLE_RATE)
    encoder = clip_encoder(load_backbone(model.backbone_name, "cpu"), layers - 1, longest)
    heads = _Heads(model, layers, one_clip=False).eval()
    size = sum(tensor.nbytes for part in (encoder, heads) for tensor in part.state_dict().values())
    if size > _LARGEST:
        raise IntervoxError(
            f"backbone {model.backbone_name!r} takes {size / 1e9:.1f} GB up to layer {layers - 1}, and an "
            "ONNX file ends at 2: refine on lower layers or a smaller backbone"
        )
    dim = model.mean.shape[1]
    example = torch.randn(3, layers, dim)
    pooled = None
    if model.reads_frames:
        pooled = _trace(_Heads(model, layers, one_clip=True).eval(), example, "frames", "states", "vectors")
    return Parts(
        _trace(encoder, torch.randn(longest), "samples", AUDIO, "states", MIN_SAMPLES),
        _trace(heads, example, "frames", "states", "vectors"),
        pooled,
        model.dims,
        layers,
        dim,
    )


def join(model: SubspaceModel, parts: Parts) -> ModelProto:
    """Join the parts into a graph of a batch of clips at 16 kHz.

    In go ``audio`` (clips, samples), padded with anything, and ``lengths`` (clips,) in samples. Out come,
    for each subspace, its unit vectors (clips, dim) and its ``.frames`` (frames, dim): those of all clips,
    one after the other, before they are scaled to unit length, so that they can be averaged over any
    stretch; ``frame_counts`` (clips,) says how many each clip has.

    A clip is cut as ``features.encoding.cut_windows`` cuts it. Where every map reads means, the
    windows' states are summed; where one reads frames, they are kept.
    """
    graph = parser.parse_model(_text(model, parts))
    graph.functions.extend([_function("Encoder", parts.encoder), _function("Heads", parts.heads)])
    if parts.pooled:
        graph.functions.append(_function("Pooled", parts.pooled))
    whole = compose.add_prefix(
        inliner.inline_local_functions(graph), f"{_DOMAIN}/", rename_inputs=False, rename_outputs=False
    )
    # Only now, where no other value can have a subspace's name.
    names = {f"space_{number}": name for number, name in enumerate(parts.spaces)}
    names |= {f"frames_{number}": name + FRAMES for number, name in enumerate(parts.spaces)}
    for value in whole.graph.output:
        value.name = names.get(value.name, value.name)
    for node in whole.graph.node:
        node.output[:] = [names.get(value, value) for value in node.output]
    del whole.opset_import[:]
    whole.opset_import.append(helper.make_opsetid("", OPSET))
    helper.set_model_props(whole, _properties(model))
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _text(model: SubspaceModel, parts: Parts) -> str:
    """Write the graph around the parts."""
    numbers = range(len(parts.spaces))
    shape = f"{parts.layers}, {parts.dim}"
    kept = model.reads_frames
    return _GRAPH.format(
        ir_version=_IR_VERSION,
        opset=OPSET,
        domain=_DOMAIN,
        outputs=", ".join(
            f"float[{axis}, {dim}] {value}_{number}"
            for axis, value in (("clips", "space"), ("frames", "frames"))
            for number, dim in enumerate(parts.spaces.values())
        ),
        window=model.window_seconds * SAMPLE_RATE,
        start="SequenceEmpty <dtype = 1> ()" if kept else "ConstantOfShape (shape)",
        shape=shape.replace(", ", ","),
        gathers=f"seq(float[some, {shape}])" if kept else f"float[{shape}]",
        gather="gathered = SequenceInsert (so_far, states)" if kept else _SUM,
        pool=(_ATTEND if kept else _AVERAGE).format(domain=_DOMAIN),
        width=sum(parts.spaces.values()),
        sizes=", ".join(map(str, parts.spaces.values())),
        raws=", ".join(f"raw_{number}" for number in numbers),
        frames=", ".join(f"frames_{number}" for number in numbers),
        units="".join(_UNIT.format(number=number) for number in numbers),
    )


_SUM = """axis = Constant <value_ints = [0]> ()
         sum = ReduceSum <keepdims = 0> (states, axis)
         gathered = Add (so_far, sum)"""
_AVERAGE = """mean = Div (gathered, frames)
      means = Unsqueeze (mean, zero)
      pooled = {domain}.Heads (means)"""
_ATTEND = """all = ConcatFromSequence <axis = 0> (gathered)
      pooled = {domain}.Pooled (all)"""
_UNIT = """
   norm_{number} = ReduceL2 (raw_{number}, one)
   safe_{number} = Max (norm_{number}, tiny)
   space_{number} = Div (raw_{number}, safe_{number})"""

# Window i starts at i · share + min(i, longer): the first `longer` windows have a sample more.
_GRAPH = """
<ir_version: {ir_version}, opset_import: ["" : {opset}, "{domain}" : 1]>
subspaces (float[clips, samples] audio, int64[clips] lengths) => ({outputs}, int64[clips] frame_counts)
{{
   zero = Constant <value_ints = [0]> ()
   one = Constant <value_ints = [1]> ()
   window = Constant <value = double[1] {{{window}}}> ()
   on = Constant <value = bool {{1}}> ()
   shape = Constant <value_ints = [{shape}]> ()
   clips = Shape <start = 0, end = 1> (audio)
   no_frames = SequenceEmpty <dtype = 1> ()
   sequence, raw, counts = Loop (clips, on, no_frames) <body = clip (
      int64 index, bool more, seq(float[some, {width}]) before
   ) => (bool goes_on, seq(float[some, {width}]) after, float[{width}] vector, int64[1] count) {{
      goes_on = Identity (more)
      padded = Gather <axis = 0> (audio, index)
      place = Unsqueeze (index, zero)
      length = Gather <axis = 0> (lengths, place)
      wave = Slice (padded, zero, length)
      exact = Cast <to = 11> (length)
      ratio = Div (exact, window)
      whole = Ceil (ratio)
      needed = Cast <to = 7> (whole)
      windows = Max (needed, one)
      share = Div (length, windows)
      longer = Mod (length, windows)
      nothing = {start}
      none = ConstantOfShape (one)
      gathered, frames, after = Loop (windows, on, nothing, none, before) <body = step (
         int64 number, bool go, {gathers} so_far, float[1] counted, seq(float[some, {width}]) past
      ) => (bool goes, {gathers} gathered, float[1] frames, seq(float[some, {width}]) now) {{
         goes = Identity (go)
         lengthened = Min (number, longer)
         shares = Mul (number, share)
         start = Add (shares, lengthened)
         next = Add (number, one)
         next_lengthened = Min (next, longer)
         next_shares = Mul (next, share)
         end = Add (next_shares, next_lengthened)
         part = Slice (wave, start, end)
         states = {domain}.Encoder (part)
         {gather}
         size = Shape <start = 0, end = 1> (states)
         added = Cast <to = 1> (size)
         frames = Add (counted, added)
         mapped = {domain}.Heads (states)
         now = SequenceInsert (past, mapped)
      }}>
      {pool}
      vector = Squeeze (pooled, zero)
      count = Cast <to = 7> (frames)
   }}>
   frame_counts = Squeeze (counts, one)
   joined = ConcatFromSequence <axis = 0> (sequence)
   sizes = Constant <value_ints = [{sizes}]> ()
   tiny = Constant <value = float {{1e-12}}> ()
   {raws} = Split <axis = 1> (raw, sizes)
   {frames} = Split <axis = 1> (joined, sizes){units}
}}
"""


def _properties(model: SubspaceModel) -> dict[str, str]:
    """What a runtime can read from the file itself."""
    return {
        "opset": str(OPSET),
        "sample_rate": str(SAMPLE_RATE),
        "backbone": model.backbone_name,
        "fingerprint": model.fingerprint,
        "window_seconds": str(model.window_seconds),
        KEY: model.key,
    }


def _function(name: str, model: ModelProto) -> FunctionProto:
    """Make a model a function; its weights become constants."""
    graph = model.graph
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in graph.initializer
    ]
    return helper.make_function(
        _DOMAIN,
        name,
        [value.name for value in graph.input],
        [value.name for value in graph.output],
        [*constants, *graph.node],
        [helper.make_opsetid("", OPSET)],
    )


def _trace(
    module: nn.Module,
    example: Tensor,
    axis: str,
    given: str,
    found: str,
    least: int = 1,
) -> ModelProto:
    """Trace a module from one tensor to another, of which the first axis is dynamic."""
    axes: Mapping[int, Any] = {0: torch.export.Dim(axis, min=least)}
    with quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[given],
            output_names=[found],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(axes,),
            verbose=False,
        )
    assert program is not None
    traced = program.model_proto
    forget_origin(traced.graph)
    return traced


def forget_origin(graph: GraphProto) -> None:
    """Take away where each node came from: the exporter keeps stack traces, with paths of this machine."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                forget_origin(inner)
