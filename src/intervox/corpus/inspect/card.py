"""The dataset card of a corpus: the ``README.md`` that the Hugging Face hub shows and reads."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from intervox import __version__
from intervox.clips.corpus import numbers, read_about, read_labels, shard_paths, tally
from intervox.clips.labels import PIECE
from intervox.clips.schema import CastingFacts, CorpusFacts, EngineFacts
from intervox.corpus.acoustics.conditions import disturbance_counts
from intervox.corpus.inspect.check_clips import factor_columns
from intervox.recipe.engines import ON_RECORD
from intervox.tables import Table, markdown

HUB_SPLIT = "cells"
"""What the hub calls the rows; shards mix our splits, which are a column."""

_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
_QUALITY = {
    "evidence": "evidence of the text that a recogniser hears, nats a token",
    "cer": "character error rate of a recogniser",
    "wer": "word error rate of a recogniser",
    "per": "phone error rate of a recogniser",
    "voice_distance": "distance to the voice's centroid",
    "seconds_per_character": "seconds a character",
    "silent_share": "share of silence",
    "clipped_share": "share of clipped samples",
    "crest_db": "peak over level, dB",
    "duration": "duration, seconds",
}
_MOST_VALUES = 12
"""Of a further factor, that the card names."""

_READ = (
    *("block", "split", "speaker", "content", "engine", "voice", "language", "kind"),
    *("condition", "severity", "error", *_QUALITY),
)


def corpus_card(folder: Path) -> str:
    """Write the card from ``corpus.json`` and the shards.

    Parameters
    ----------
    folder
        Of the corpus; without ``corpus.json`` the card says less of the engines.

    Raises
    ------
    IntervoxError
        A shard or ``corpus.json`` can't be read.
    """
    about, _ = read_about(folder)
    labels = read_labels(folder, _READ)
    schema = pq.read_schema(shard_paths(folder)[0])
    counts = {name: len(tally(labels, name)) for name in ("speaker", "content", "block")}
    recorded = {"recorded", PIECE, *ON_RECORD} & {*tally(labels, "kind"), *tally(labels, "engine")}
    failed = tally(labels, "error").total()
    template = files("intervox.corpus.inspect").joinpath("card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(template).render(
        front=yaml.safe_dump(_front_matter(schema, labels), sort_keys=False, allow_unicode=True),
        cells=labels.num_rows,
        hours=numbers(labels, "duration").sum() / 3600,
        speakers=counts["speaker"],
        contents=counts["content"],
        blocks=counts["block"],
        seed=f", seed {about.seed}, key `{about.key}`" if about.key else "",
        hub_split=HUB_SPLIT,
        splits=_split_table(labels),
        engines=_engine_table(labels, about),
        casting=_casting_words(about.casting),
        languages=_languages(labels),
        conditions=_condition_words(labels),
        factors=_factor_words(folder, factor_columns(schema)),
        failed=f"{failed:,} of {labels.num_rows:,} cells were rejected or failed.",
        quality=_quality_table(labels),
        origin="Part of it is recorded from people, the rest is synthetic"
        if recorded
        else "All is synthetic",
        version=__version__,
    )


def _front_matter(schema: pa.Schema, labels: pa.Table) -> dict[str, Any]:
    tags = sorted(tally(labels, "language"))
    size = next((name for bound, name in _SIZES.items() if labels.num_rows < bound), "n>1M")
    return {
        "license": "other",
        "license_name": "terms-of-the-engines",
        "license_link": "#engines-and-voices",
        "language": sorted({tag.split("-")[0] for tag in tags}),
        "language_bcp47": tags,
        "task_categories": ["audio-classification"],
        "tags": ["speech", "synthetic", "speaker", "content", "intervox"],
        "size_categories": [size],
        "configs": [
            {"config_name": "default", "data_files": [{"split": HUB_SPLIT, "path": "audio/*.parquet"}]}
        ],
        "dataset_info": {"features": _features(schema)},
    }


def _features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Describe the columns in the words of ``datasets``, so that the hub plays the audio."""
    audio = {"audio": {"sampling_rate": 16_000}}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return [
        {
            "name": field.name,
            "dtype": audio if field.name == "audio" else names.get(str(field.type), str(field.type)),
        }
        for field in schema
    ]


def _split_table(labels: pa.Table) -> str:
    rows = []
    splits = tally(labels, "split").most_common() or [("all", labels.num_rows)]
    for split, count in splits:
        part = labels.filter(pc.field("split") == split) if "split" in labels.column_names else labels
        sizes = [f"{len(tally(part, name)):,}" for name in ("block", "speaker", "content")]
        rows.append([split, f"{count:,}", *sizes])
    return markdown([Table("", "", ["split", "cells", "blocks", "speakers", "contents"], rows)])


def _engine_table(labels: pa.Table, about: CorpusFacts) -> str:
    families = about.families
    voices: dict[str, set[Any]] = {}
    speakers: dict[str, set[Any]] = {}
    known = [name for name in ("engine", "voice", "speaker") if name in labels.column_names]
    for row in labels.group_by(known).aggregate([]).to_pylist():
        engine = row.get("engine") or "not labelled"
        voices.setdefault(engine, set()).add(row.get("voice"))
        speakers.setdefault(engine, set()).add(row.get("speaker"))
    rows = []
    for engine in sorted(voices):
        facts = about.engines.get(engine, EngineFacts())
        related = {families[engine, voice] for voice in voices[engine] if (engine, voice) in families}
        numbers = [
            f"{len(speakers[engine]):,}",
            f"{len(voices[engine]):,}",
            f"{len(related):,}" if related else "?",
        ]
        rows.append([engine, facts.version, facts.licence, *numbers])
    header = ["engine", "version", "licence", "speakers", "voices", "voice families"]
    return markdown([Table("", "", header, rows)])


def _casting_words(figures: CastingFacts | None) -> str:
    if figures is None:
        return "The voices were not compared with each other."
    return (
        f"{figures.voices:,} voices were auditioned. {figures.distinct:,} of them are further than "
        f"{figures.min_distance:g} from each other (mean cosine distance between two voices' clips, less "
        f"that within each); {len(figures.merged):,} were merged with another and "
        f"{len(figures.dropped):,} left out. Their diversity is that of {figures.effective:.0f} voices "
        "without any likeness (Vendi score)."
    )


def _condition_words(labels: pa.Table) -> str:
    severity = numbers(labels, "severity")
    counts = disturbance_counts(labels) if "condition" in labels.column_names else []
    shares = [f"{kind} ({count / labels.num_rows:.0%})" for kind, count in counts]
    words = f"Cells with each disturbance: {', '.join(shares)}." if shares else "Not labelled."
    if len(severity):
        low, median, high = np.quantile(severity, (0, 0.5, 1))
        words += f"\n\nSeverity runs from {low:.2f} to {high:.2f}, median {median:.2f}."
    return words


def _factor_words(folder: Path, factors: list[str]) -> str:
    if not factors:
        return ""
    labels = read_labels(folder, factors)
    lines = []
    for factor in factors:
        values = tally(labels, factor)
        named = ", ".join(f"{value} ({count:,} cells)" for value, count in values.most_common(_MOST_VALUES))
        more = f", and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else ""
        lines.append(f"- `{factor}`: {named or 'not labelled'}{more}")
    return "\n".join(lines)


def _languages(labels: pa.Table) -> str:
    words = [f"`{tag}` ({count:,} cells)" for tag, count in tally(labels, "language").most_common()]
    return ", ".join(words) + "." if words else "Not labelled."


def _quality_table(labels: pa.Table) -> str:
    sound = labels.filter(labels["error"].is_null()) if "error" in labels.column_names else labels
    rows = []
    for column, words in _QUALITY.items():
        figures = numbers(sound, column)
        if len(figures):
            rows.append([words, *(f"{value:.3g}" for value in np.quantile(figures, (0.05, 0.5, 0.95, 1)))])
    if not rows:
        return "No quality figure was measured."
    return "The others:\n\n" + markdown([Table("", "", ["", "5 %", "median", "95 %", "largest"], rows)])
