"""The program in an exported folder: what somebody without Intervox starts from."""

EXAMPLE = '''"""Compare two clips in every subspace, without Intervox: python example.py a.wav b.wav"""
import json, sys
from pathlib import Path
import numpy as np, onnxruntime, soundfile, soxr

folder = Path(__file__).parent
about = json.loads((folder / "config.json").read_text())["onnx"]
session = onnxruntime.InferenceSession(folder / about["file"])
def embed(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(audio.mean(axis=1), rate, about["sample_rate"])
    return session.run(about["outputs"], {about["input"]: audio})
for space, a, b in zip(about["outputs"], embed(sys.argv[1]), embed(sys.argv[2])):
    slope, offset = about["calibration"].get(space, (np.nan, np.nan))
    print(f"{space}: cosine {a @ b:.4f}, same with p = {1 / (1 + np.exp(-slope * (a @ b) - offset)):.4f}")
'''
