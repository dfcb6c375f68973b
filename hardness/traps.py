"""The hostile files: what each claims or hides, and the command that meets it."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from tests.support.sounds import riff, voiced

from hardness.common import RATE

Make = Callable[[Path], tuple[str, ...]]
"""Lays a hostile input out in an empty folder, and returns the words of the command that meets it."""


@dataclass(frozen=True)
class Trap:
    """One hostile input.

    Attributes
    ----------
    kind
        What it is counted under.
    may_work
        Whether the command may also end well, having ignored what is hostile about the file.
    """

    kind: str
    name: str
    make: Make
    may_work: bool = False


class _Bomb:
    """What pickle would execute."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


def _model(folder: Path, **changes: Any) -> Path:
    """Copy the packaged model, with changes to its configuration."""
    from intervox.model.files import default_model_folder

    target = folder / "model"
    shutil.copytree(default_model_folder(), target)
    config = target / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return target


def _embed_with(change: Callable[[Path], None]) -> Make:
    def make(folder: Path) -> tuple[str, ...]:
        change(_model(folder))
        return ("embed", "a.wav", "--model", "model")

    return make


def _configured(**changes: Any) -> Make:
    def make(folder: Path) -> tuple[str, ...]:
        _model(folder, **changes)
        return ("embed", "a.wav", "--model", "model")

    return make


def _file(name: str, content: bytes | Callable[[], bytes], *command: str) -> Make:
    def make(folder: Path) -> tuple[str, ...]:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content())
        return command

    return make


def _enrolled(content: bytes) -> Make:
    return _file("p.safetensors", content, "verify", "p.safetensors", "a.wav")


def _manifest(name: str, content: bytes | Callable[[], bytes]) -> Make:
    return _file(name, content, "evaluate", "--manifest", name, "--folder", "out")


def _vectors(**members: bytes) -> Make:
    return _file("v.npz", lambda: _npz(**members), "evaluate", "--embeddings", "v.npz")


def _sound(**header: int) -> Make:
    samples = (voiced(0.5) * 9000).astype(np.int16)
    return _file("b.wav", riff(samples, **header), "embed", "b.wav")


def _claims(header: dict[str, Any], size: int | None = None) -> bytes:
    """Return a safetensors file that claims what it has not."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


def _npy(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def _npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _zeros() -> bytes:
    """Return a megabyte that unpacks to a gigabyte."""
    return _npz(embedding=_npy((2**18, 2**10)) + bytes(2**30))


def _pickled() -> bytes:
    buffer = io.BytesIO()
    array = np.array([_Bomb()], object)
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _graph(external: str | None = None, claim: int = 0) -> bytes:
    """Return a small graph with weights in another file, or with a claimed size."""
    import onnx
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[claim or 4])
    if external is not None:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
        weight.external_data.add(key="length", value=str(4 * (claim or 4)))
    else:
        weight.raw_data = bytes(16)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["audio", "w"], ["speaker"])], "g",
        [value("audio", TensorProto.FLOAT, [4])], [value("speaker", TensorProto.FLOAT, [4])], [weight],
    )  # fmt: skip
    return bytes(onnx.helper.make_model(graph, ir_version=9).SerializeToString())


def _link(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def _write(name: str, content: Callable[[], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content())

    return change


def _bomb(levels: int = 12) -> str:
    """Return YAML whose aliases stand for ten to the power of ``levels`` values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def _recipe(text: str, *command: str) -> Make:
    return _file("bad.yaml", text.encode(), *(command or ("corpus", "plan", "bad.yaml")))


def _run(files: str, link: bool = False) -> Make:
    """Lay out a run of ``mini`` whose corpus claims to have written these files."""

    def make(folder: Path) -> tuple[str, ...]:
        from intervox.corpus.render.synthesis import corpus_key
        from intervox.recipe import load_recipe

        recipe = load_recipe("mini")
        corpus = folder / "run" / "corpus"
        corpus.mkdir(parents=True)
        key = json.dumps(corpus_key(recipe.corpus, recipe.seed))
        (corpus / "step.json").write_text(f'{{"key": {key}, "complete": true, "files": {files}}}')
        if link:
            (corpus / "audio").symlink_to("../../..")
        return "synth", "mini", "--folder", "run"

    return make


def _linked_people(folder: Path) -> tuple[str, ...]:
    (folder / "people.safetensors").symlink_to("../secret.txt")
    return ("enrol", "alice", "a.wav", "--into", "people.safetensors")


def _silence(folder: Path) -> tuple[str, ...]:
    """Write a small file that decodes to hours."""
    sf.write(folder / "long.flac", np.zeros(RATE * 3600 * 3, np.int16), RATE, subtype="PCM_16")
    return ("embed", "long.flac")


def _weights(content: Callable[[], bytes]) -> Make:
    return _embed_with(_write("model.safetensors", content))


def _graphed(content: Callable[[], bytes]) -> Make:
    return _embed_with(_write("model.onnx", content))


_HUGE = {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
_ROWS = b"path,speaker,content\n%s,a,b\n"
_DEEP = {"__metadata__": {"intervox": "[" * 50_000}}
_WIDE = "name: x\ncorpus: {train: {blocks: 1000000000, speakers: 1000, contents: 1000}}\n"

_BY_KIND: dict[str, dict[str, Make]] = {
    "models": {
        "pickle as weights": _weights(lambda: pickle.dumps(_Bomb())),
        "weights that claim terabytes": _weights(lambda: _claims(_HUGE)),
        "a header of exabytes": _weights(lambda: _claims({}, 2**62)),
        "weights that link elsewhere": _embed_with(_link("model.safetensors", "../../secret.txt")),
        "a configuration that links elsewhere": _embed_with(_link("config.json", "../../secret.txt")),
        "a configuration that is a device": _embed_with(_link("config.json", "/dev/zero")),
        "nested configuration": _embed_with(_write("config.json", lambda: b"[" * 200_000)),
        "a subspace of a billion": _configured(subspaces={"speaker": {"factor": "speaker", "dim": 10**9}}),
        "a backbone that climbs out": _configured(backbone="../../../../etc", fingerprint=""),
        "references that are too many": _configured(references={"speaker": "x\n" * 2_000_000}),
        "a name that climbs out": lambda folder: ("embed", "a.wav", "--model", "../../etc/passwd"),
    },
    "ONNX graphs": {
        "not a graph": _graphed(lambda: b"\x08" + bytes(1000)),
        "weights outside": _graphed(lambda: _graph("../../secret.txt")),
        "weights of the system": _graphed(lambda: _graph("/etc/passwd")),
        "weights of terabytes": _graphed(lambda: _graph(None, 2**40)),
        "another graph's inputs": _graphed(_graph),
        "a link": _embed_with(_link("model.onnx", "../../secret.txt")),
    },
    "enrolments": {
        "a pickle": _enrolled(pickle.dumps(_Bomb())),
        "terabytes": _enrolled(_claims(_HUGE)),
        "an exabyte of header": _enrolled(_claims({}, 2**62)),
        "metadata that is no record": _enrolled(_claims(_DEEP)),
        "a link to write through": _linked_people,
    },
    "manifests": {
        "a path that climbs out": _manifest("m.csv", _ROWS % b"../secret.txt"),
        "a file of the system": _manifest("m.csv", _ROWS % b"/etc/passwd"),
        "a column of 300 MB": _manifest("m.csv", lambda: _ROWS % (b"x" * 300_000_000)),
        "nested JSON": _manifest("m.jsonl", b"[" * 200_000),
        "a device without end": _file("m.txt", b"/dev/zero\n", "embed", "--list", "m.txt"),
        "a pipe of a shell": _file("wav.scp", b"a touch pwned |\n", "embed", "--list", "wav.scp"),
    },
    "recipes": {
        "an alias bomb": _recipe(_bomb() + "\nname: x\ncorpus: *a11\n"),
        "aliases as a name": _recipe(_bomb() + "\nname: *a11\n"),
        "an object to construct": _recipe("name: !!python/object/apply:os.system ['touch pwned']\n"),
        "a name that climbs out": _recipe("name: ../../outside\n", "synth", "bad.yaml"),
        "a corpus of 10^15 cells": _recipe(_WIDE),
        "nested lists": _recipe("name: " + "[" * 50_000),
        "texts from a device": _recipe("name: x\ncorpus: {texts: {file: /dev/zero}}\n"),
    },
    "runs": {
        "a file outside that was written": _run('{"../../../secret.txt": [0, 0]}'),
        "a file outside through a link": _run('{"audio/secret.txt": [0, 0]}', link=True),
        "a list of files": _run('["secret.txt"]'),
        "a number of many digits": _run("1" * 5_000),
        "nested lists of files": _run("[" * 50_000),
    },
    "vectors": {
        "a pickle in .npz": _vectors(embedding=_pickled(), path=_pickled()),
        "terabytes in .npz": _vectors(embedding=_npy((2**32, 256)), path=_npy((2**32,), "<U9")),
        "a zip bomb": _file("v.npz", _zeros, "evaluate", "--embeddings", "v.npz"),
        "names that climb out of .npz": _vectors(**{"../../embedding": _npy((1, 2)) + bytes(8)}),
    },
    "sounds": {
        "a header of gigabytes": _sound(data_size=0xFFFFFFF0),
        "a rate of four billion": _sound(rate=0xFFFFFFFF),
        "three hours of silence in a megabyte": _silence,
        "a device without end": lambda folder: ("embed", "/dev/zero"),
        "a name that looks like an option": _file("--help.wav", b"x", "embed", "./--help.wav"),
    },
}
_MAY_WORK = {"a header of gigabytes", "a link to write through", "references that are too many"}

TRAPS = tuple(
    Trap(kind, name, make, name in _MAY_WORK)
    for kind, traps in _BY_KIND.items()
    for name, make in traps.items()
)
