"""The model card, written from the run's own metrics."""

from typing import Any

from intervox.reporting.table_formats import markdown
from intervox.reporting.tables import headline_tables

_CARD = """---
library_name: intervox
license: apache-2.0
tags: [speech, speaker-verification, keyword-spotting]
---

# Intervox subspaces of {backbone}

Recipe `{recipe}`, seed {seed}; trained on {hours} hours of synthetic speech and no human recording.
Backbone weights: fingerprint `{fingerprint}`, not part of `model.safetensors`.

```python
from intervox import SubspaceModel

z = SubspaceModel.from_pretrained("this folder or hub id").encode(["a.wav", "b.wav"])
```

{engines}

## What was measured

{tables}
"""


def model_card(metrics: dict[str, Any], corpus: dict[str, Any]) -> str:
    """Write the card from ``metrics.json`` and ``corpus.json``."""
    engines = [
        f"Speech by {name} {about['version']}: {about['licence']}."
        for name, about in corpus["engines"].items()
    ]
    return _CARD.format(
        backbone=metrics["backbone"]["name"],
        fingerprint=metrics["backbone"]["fingerprint"],
        recipe=metrics["recipe"],
        seed=metrics["seed"],
        hours=corpus["hours"],
        engines="\n".join(engines),
        tables=markdown(headline_tables(metrics)),
    )
