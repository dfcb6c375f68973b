"""Models for programs without Intervox: ONNX graphs, whole folders, and a hub to share them on."""

from intervox.errors import missing_extra

try:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401 - nothing is written that it did not run
    import onnxscript  # noqa: F401 - torch.onnx.export writes with it
except ImportError as error:
    raise missing_extra(error.name or "onnx", "export", "a graph in ONNX") from None

from intervox.export.folder import Exported, export_folder, push_folder
from intervox.export.onnx_file import export_onnx

__all__ = ["Exported", "export_folder", "export_onnx", "push_folder"]
