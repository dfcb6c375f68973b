"""One ONNX graph of backbone and subspaces: cut into windows, encode each, pool, project.

The encoder of a window and the subspaces are traced by ``torch.onnx.export``. What joins them, a
loop over the windows, is written in ONNX's own text form and calls the two as functions, which are
then inlined: the file holds standard operators alone. A loop, not a batch: windows may differ by a
sample, memory is that of one window, and the encoder sees each one alone, without padding or masks.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError, missing_extra
from intervox.export.encoders import clip_encoder
from intervox.model.heads import Heads
from intervox.model.model import SubspaceModel


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings, logged or not, while the block runs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


try:
    import onnx
    import onnxruntime  # noqa: F401 - nothing is written that it did not run
    import onnxscript  # noqa: F401 - torch.onnx.export writes with it
    from onnx import FunctionProto, ModelProto, compose, helper, inliner, parser
except ImportError as error:
    raise missing_extra(error.name or "onnx", "export", "a graph in ONNX") from None

OPSET = 18
"""Of every graph: the lowest that ``torch.onnx.export`` writes, so that old runtimes read it."""

INPUT = "audio"

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
        From a clip's means (layers, dim), or all its frames (frames, layers, dim), to unit vectors.
    spaces
        What these are called, in order.
    layers, dim
        Of the states: up to the highest layer that a subspace reads.
    """

    encoder: ModelProto
    heads: ModelProto
    spaces: list[str]
    layers: int
    dim: int


class _Heads(nn.Module):
    """The subspaces of one clip: means or frames in, one vector (dim,) a subspace out."""

    def __init__(self, model: SubspaceModel, layers: int) -> None:
        super().__init__()
        settings = {name: model.subspace(name).settings for name in model.subspaces}
        heads = Heads(model.mean.shape[0], model.mean.shape[1], settings)
        state = model.state_dict()
        heads.load_state_dict({name: state[name] for name in heads.state_dict()})
        heads.mean, heads.scale = heads.mean[:layers], heads.scale[:layers]
        if heads.rotation is not None:
            parametrize.remove_parametrizations(heads.rotation.turn, "weight")
        self.heads = heads.requires_grad_(False)

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        return tuple(vectors[0] for vectors in self.heads(states[None]).values())


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
    heads = _Heads(model, layers).eval()
    size = sum(tensor.nbytes for part in (encoder, heads) for tensor in part.state_dict().values())
    if size > _LARGEST:
        raise IntervoxError(
            f"backbone {model.backbone_name!r} takes {size / 1e9:.1f} GB up to layer {layers - 1}, and an "
            "ONNX file ends at 2: refine on lower layers or a smaller backbone"
        )
    spaces, dim = list(model.subspaces), model.mean.shape[1]
    example = torch.randn(3, layers, dim) if model.reads_frames else torch.randn(layers, dim)
    return Parts(
        _trace(encoder, torch.randn(longest), "samples", [INPUT], ["states"], MIN_SAMPLES),
        _trace(heads, example, "frames" if model.reads_frames else None, ["pooled"], spaces),
        spaces,
        layers,
        dim,
    )


def join(model: SubspaceModel, parts: Parts) -> ModelProto:
    """Join the parts: ``audio`` (samples,) at 16 kHz in, one unit vector (dim,) a subspace out.

    A clip is cut as ``features.extraction.cut_windows`` cuts it. Where every map reads means, the
    windows' frames are summed; where one reads frames, they are kept.
    """
    spaces = {f"space_{number}": name for number, name in enumerate(parts.spaces)}
    shape = f"{parts.layers}, {parts.dim}"
    frames = model.reads_frames
    text = _GRAPH.format(
        ir_version=_IR_VERSION,
        opset=OPSET,
        domain=_DOMAIN,
        outputs=", ".join(
            f"float[{model.subspace(name).settings.dim}] {value}" for value, name in spaces.items()
        ),
        window=model.window_seconds * SAMPLE_RATE,
        start=f"0, {shape}" if frames else shape,
        so_far=f"past, {shape}" if frames else shape,
        gathered=f"now, {shape}" if frames else shape,
        gather=_KEEP if frames else _SUM,
        pooled="Identity (gathered)" if frames else "Div (gathered, frames)",
        spaces=", ".join(spaces),
    )
    graph = parser.parse_model(text)
    graph.functions.extend([_function("Encoder", parts.encoder), _function("Heads", parts.heads)])
    whole = compose.add_prefix(
        inliner.inline_local_functions(graph), f"{_DOMAIN}/", rename_inputs=False, rename_outputs=False
    )
    # Only now, where no other value can have a subspace's name.
    for value in whole.graph.output:
        value.name = spaces[value.name]
    for node in whole.graph.node:
        node.output[:] = [spaces.get(value, value) for value in node.output]
    del whole.opset_import[:]
    whole.opset_import.append(helper.make_opsetid("", OPSET))
    helper.set_model_props(whole, _properties(model))
    onnx.checker.check_model(whole, full_check=True)
    return whole


_SUM = """axis = Constant <value_ints = [0]> ()
      sum = ReduceSum <keepdims = 0> (states, axis)
      gathered = Add (so_far, sum)"""
_KEEP = "gathered = Concat <axis = 0> (so_far, states)"

# Window i starts at i · share + min(i, longer): the first `longer` windows have a sample more.
_GRAPH = """
<ir_version: {ir_version}, opset_import: ["" : {opset}, "{domain}" : 1]>
subspaces (float[samples] audio) => ({outputs})
{{
   length = Shape (audio)
   one = Constant <value_ints = [1]> ()
   window = Constant <value = double[1] {{{window}}}> ()
   exact = Cast <to = 11> (length)
   ratio = Div (exact, window)
   whole = Ceil (ratio)
   windows = Cast <to = 7> (whole)
   count = Max (windows, one)
   share = Div (length, count)
   longer = Mod (length, count)
   on = Constant <value = bool {{1}}> ()
   shape = Constant <value_ints = [{start}]> ()
   nothing = ConstantOfShape (shape)
   none = ConstantOfShape (one)
   gathered, frames = Loop (count, on, nothing, none) <body = step (
      int64 number, bool go, float[{so_far}] so_far, float[1] before
   ) => (bool goes, float[{gathered}] gathered, float[1] frames) {{
      goes = Identity (go)
      lengthened = Min (number, longer)
      shares = Mul (number, share)
      start = Add (shares, lengthened)
      next = Add (number, one)
      next_lengthened = Min (next, longer)
      next_shares = Mul (next, share)
      end = Add (next_shares, next_lengthened)
      part = Slice (audio, start, end)
      states = {domain}.Encoder (part)
      {gather}
      size = Shape <start = 0, end = 1> (states)
      added = Cast <to = 1> (size)
      frames = Add (before, added)
   }}>
   pooled = {pooled}
   {spaces} = {domain}.Heads (pooled)
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
    dynamic: str | None,
    inputs: list[str],
    outputs: list[str],
    least: int = 1,
) -> ModelProto:
    """Trace a module of one tensor, whose first axis is dynamic where it has a name."""
    axes: Mapping[int, Any] = {} if dynamic is None else {0: torch.export.Dim(dynamic, min=least)}
    with quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(axes,),
            verbose=False,
        )
    assert program is not None
    return program.model_proto
