"""People on record in place of a synthesiser: a parallel corpus that a manifest describes.

What a person has not said can't be rendered; ``takes`` tells the design what was. Where someone
says a text several times, the seed chooses the take: neighbouring seeds, neighbouring takes.
"""

from collections import defaultdict
from collections.abc import Callable

from intervox.audio import Waveform, load_audio
from intervox.clips.labels import normalise_text
from intervox.clips.manifest import Row, read_manifest
from intervox.clips.schema import SHARD_SCHEMA
from intervox.engines.base import Engine, RenderError, RenditionLabels, Voice
from intervox.errors import IntervoxError
from intervox.recipe.engines import RecordingsSettings
from intervox.storage import stable_hash


class RecordingsEngine(Engine):
    """The ``recordings`` engine."""

    name = "recordings"

    def __init__(self, settings: RecordingsSettings) -> None:
        rows = read_manifest(settings.manifest)
        if not rows:
            raise IntervoxError(f"{settings.manifest} lists no recordings: add some")
        missing = next((row.path for row in rows if not row.path.is_file()), None)
        if missing:
            raise IntervoxError(f"{settings.manifest} names {missing}, which is not a file: correct it")
        self.licence = settings.licence
        self._version = stable_hash([_stamped(row) for row in rows])
        self.factors = tuple(sorted({factor for row in rows for factor, _ in row.labels}))
        if clash := sorted(set(self.factors) & set(SHARD_SCHEMA.names)):
            raise IntervoxError(
                f"{settings.manifest} has a column {clash[0]!r}, which means something else in every corpus: "
                "rename it"
            )
        self._settings = settings
        self._key: Callable[[str], str] = normalise_text if settings.match == "normalised" else str.strip
        self._languages: dict[str, str] = {}
        for row in rows:
            if self._languages.setdefault(row.speaker, row.language) != row.language:
                raise IntervoxError(
                    f"{settings.manifest} has {row.speaker!r} in two languages: keep the recordings of one"
                )
        self._spelling: dict[str, str] = {}
        self._takes: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            text = row.text or row.content
            self._spelling.setdefault(self._key(text), text)
            self._takes[row.speaker][self._key(text)].append(row)

    @property
    def version(self) -> str:
        return self._version

    def voices(self) -> list[Voice]:
        """Return every speaker of the manifest, or the first ``voices`` of them by name."""
        names = sorted(self._languages)
        wanted = self._settings.voices or len(names)
        if wanted > len(names):
            raise IntervoxError(
                f"{self._settings.manifest} has {len(names)} speakers, {wanted} were asked for: "
                "lower `voices`"
            )
        return [Voice(name, name, self._languages[name]) for name in names[:wanted]]

    def takes(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(self._spelling[key] for key in said) for name, said in self._takes.items()}

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Read the take that the seed chooses."""
        row = self._take(text, voice, seed)
        try:
            return load_audio(row.path)
        except IntervoxError as error:
            raise RenderError(str(error)) from None

    def labels(self, text: str, voice: str, seed: int) -> RenditionLabels:
        row = self._take(text, voice, seed)
        return RenditionLabels(row.session, row.labels)

    def _take(self, text: str, voice: str, seed: int) -> Row:
        takes = self._takes.get(voice, {}).get(self._key(text))
        if not takes:
            raise RenderError(f"{voice} has not said {text!r} in {self._settings.manifest}")
        return takes[seed % len(takes)]


def _stamped(row: Row) -> list[object]:
    status = row.path.stat()
    return [
        str(row.path),
        row.speaker,
        row.text or row.content,
        row.session,
        row.language,
        row.labels,
        status.st_size,
        status.st_mtime_ns,
    ]
