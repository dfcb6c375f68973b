"""The corpus page in a real browser: it plays, in sequence, without a message on the console."""

from pathlib import Path

import pytest

from intervox.corpus.inspect.show import write_corpus_page
from tests.support.browser import BROWSER, in_browser
from tests.support.corpora import tone_rows, write_corpus

SCRIPT = """
const played = [], errors = [];
frame.onload = () => {
  const page = frame.contentDocument;
  frame.contentWindow.console.error = (...words) => {
    errors.push(words.join(" "));
    report({played, errors});
  };
  for (const audio of page.querySelectorAll("audio")) {
    audio.addEventListener("playing", () => { audio.playbackRate = 8; });
    audio.addEventListener("ended", () => {
      const {r, c, k} = audio.parentElement.querySelector("button").dataset;
      played.push(`${r}${c}${k}`);
      if (played.length == 4) report({played, errors});
    });
  }
  page.querySelector("button[data-row='0']").click();
};
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_row_plays_in_a_browser(tmp_path: Path) -> None:
    write_corpus_page(write_corpus(tmp_path / "corpus", tone_rows()), tmp_path / "page.html", [1])
    found, log = in_browser((tmp_path / "page.html").read_bytes(), SCRIPT, tmp_path)
    assert found == {"played": ["000", "001", "010", "011"], "errors": []}, log
    assert "CONSOLE" not in log
