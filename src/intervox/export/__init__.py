"""Models for programs without Intervox: ONNX graphs, whole folders, and a hub to share them on."""

from intervox.export.folder import Exported, export_folder
from intervox.export.hub import push_folder
from intervox.export.onnx_files import export_onnx

__all__ = ["Exported", "export_folder", "export_onnx", "push_folder"]
