"""load_model: any model by its name, on onnxruntime where it has a graph and in PyTorch where it has none."""

from pathlib import Path
from typing import Any, Literal

from intervox.errors import IntervoxError, missing_train
from intervox.model.embedder import Embedder
from intervox.model.files import DEFAULT, GRAPH, model_folder

Backend = Literal["onnx", "torch"]

MOST_THREADS = 1024


def load_model(
    name: str | Path = DEFAULT,
    *,
    device: str | None = None,
    threads: int | None = None,
    backend: Backend | None = None,
    **hub: Any,
) -> Embedder:
    """Load a model to embed clips with.

    Parameters
    ----------
    name
        ``default``, the model in the package; the folder of a model or of a run; or a hub id, USER/NAME.
    device
        ``cpu`` by default; ``cuda``, or another for which the installed onnxruntime has an execution
        provider or PyTorch a device.
    threads
        How many threads compute; by default as many as this process has cores. In PyTorch the number
        is that of the whole process.
    backend
        ``onnx`` or ``torch``. By default onnxruntime where the model has a graph and the device a
        provider; PyTorch, which needs ``intervox[train]``, otherwise.
    hub
        ``revision``, ``token``, ``cache_dir``, ``local_files_only`` or ``force_download``, as
        ``huggingface_hub.hf_hub_download`` takes them.

    Raises
    ------
    IntervoxError
        There is no such model, a file of it is damaged, or a package or device is missing.

    Examples
    --------
    >>> model = load_model()
    >>> model.encode(["a.wav", "b.wav"])["speaker"].shape  # doctest: +SKIP
    (2, 96)
    """
    if backend not in (None, "onnx", "torch"):
        raise IntervoxError(f"there is no backend {backend!r}: choose onnx or torch")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise IntervoxError(f"threads is {threads}: give a number from 1 to {MOST_THREADS:,}")
    folder = model_folder(str(name), graph=backend != "torch", **hub)
    has_graph = (folder / GRAPH).is_file()
    if backend == "onnx" and not has_graph:
        raise IntervoxError(f"{name} has no {GRAPH}: run `intervox export`, or leave backend to PyTorch")
    if backend == "onnx" or (backend is None and has_graph and _provided(device)):
        from intervox.model.onnx_model import OnnxModel

        shown = str(folder.resolve()) if Path(name).is_dir() else str(name)
        return OnnxModel(folder, shown, device, threads)
    return _in_torch(name, device, threads, hub)


def _provided(device: str | None) -> bool:
    from intervox.model.onnx_model import providers

    return device is None or device.lower() in providers()


def _in_torch(name: str | Path, device: str | None, threads: int | None, hub: dict[str, Any]) -> Embedder:
    try:
        import torch

        from intervox.model.model import SubspaceModel
    except ModuleNotFoundError as error:
        why = f"on device {device!r}" if device else f"without {GRAPH}"
        raise missing_train(error, f"the model {name} {why}") from None
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return SubspaceModel.from_pretrained(name, device=device, **hub)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise IntervoxError(f"device {device!r} can't be used ({reason}): choose cpu or cuda") from error
