"""Models for programs without Intervox: ONNX graphs, whole folders, and a hub to share them on."""

from intervox.export.folder import Exported, export_folder, export_onnx
from intervox.export.hub import push_folder

__all__ = ["Exported", "export_folder", "export_onnx", "push_folder"]
