"""A plausible ``metrics.json``: measured figures of a quickstart run, the rest made up."""

from typing import Any

SEVERITIES = ("0.00", "0.25", "0.50", "0.75", "1.00")

# EER of raw (mean, layer 0, layer 1), LDA, speaker and content subspace: clean, same text, degraded.
_EERS: dict[str, dict[str, tuple[float, float | None, float]]] = {
    "synthetic": {
        "mean": (0.421, 0.837, 0.446),
        "0": (0.390, 0.612, 0.439),
        "1": (0.256, 0.479, 0.341),
        "lda": (0.041, 0.092, 0.110),
        "speaker": (0.024, 0.048, 0.070),
        "content": (0.480, 0.949, 0.485),
    },
    "librispeech": {
        "mean": (0.316, None, 0.373),
        "0": (0.273, None, 0.427),
        "1": (0.107, None, 0.214),
        "lda": (0.022, None, 0.155),
        "speaker": (0.014, None, 0.106),
        "content": (0.429, None, 0.424),
    },
    "speech_commands": {
        "mean": (0.314, 0.736, 0.392),
        "0": (0.190, 0.301, 0.350),
        "1": (0.133, 0.232, 0.280),
        "lda": (0.105, 0.195, 0.266),
        "speaker": (0.109, 0.169, 0.234),
        "content": (0.480, 0.901, 0.474),
    },
    "fsdd": {
        "mean": (0.397, 0.820, 0.426),
        "0": (0.239, 0.327, 0.372),
        "1": (0.251, 0.350, 0.366),
        "lda": (0.214, 0.403, 0.335),
        "speaker": (0.205, 0.321, 0.316),
        "content": (0.482, 0.921, 0.479),
    },
}
# Chance, then probe and one-shot accuracy of raw, LDA, the content and the speaker subspace.
_KEYWORDS: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {
    "synthetic": (0.013, ((0.905, 0.642), (0.919, 0.896), (0.948, 0.908), (0.270, 0.057))),
    "speech_commands": (0.118, ((0.976, 0.734), (0.971, 0.876), (0.969, 0.881), (0.905, 0.194))),
    "fsdd": (0.100, ((0.959, 0.780), (0.943, 0.858), (0.947, 0.854), (0.838, 0.301))),
}
_ABOUT = {
    "synthetic": (640, 48, 80, 0.31, "synthesised"),
    "librispeech": (100, 10, 100, 0.19, "CC BY 4.0"),
    "speech_commands": (3927, 457, 12, 1.07, "CC BY 4.0"),
    "fsdd": (3000, 6, 10, 0.36, "CC BY-SA 4.0"),
}


def sample_metrics() -> dict[str, Any]:
    """Build all that a run measures on four protocols."""
    return {
        "schema": 3,
        "recipe": "quickstart",
        "seed": 0,
        "backbone": {"name": "bundled:whisper-tiny.en", "fingerprint": "f13be9f708cf3087"},
        "spaces": {"speaker": "speaker", "content": "content"},
        "protocols": {
            name: dict(zip(("clips", "speakers", "contents", "hours", "licence"), about, strict=True))
            | {"failed": 0, "languages": ["en"]}
            for name, about in _ABOUT.items()
        },
        "verification": {name: _verification(eers) for name, eers in _EERS.items()},
        "gaps": {name: {"speaker": _gaps(eers["speaker"])} for name, eers in _EERS.items()},
        "severity": {name: {"speaker": _severity(eers["speaker"][0])} for name, eers in _EERS.items()},
        "scoring": {
            name: {
                "speaker": {"clean": {b: _eer(eers["speaker"][0]) for b in ("cosine", "centred", "as_norm")}}
            }
            for name, eers in _EERS.items()
        },
        "calibration": {name: {"speaker": _calibration()} for name in _EERS},
        "keywords": {name: _keywords(*found) for name, found in _KEYWORDS.items()},
        "running": {
            "speech_commands": {
                "content": _running(0.7),
                "speaker": _running(0.05),
                "raw": {"layer": "4", **_running(0.5)},
            }
        },
        "separation": {name: _separation(name) for name in _EERS},
        "baselines": {
            "lda": _baseline("closed form on the same labels, layers and dims", "lda", 1),
            "pca": _baseline("principal components of the same layers", "1", 0),
        },
    }


def _rate(value: float) -> dict[str, Any]:
    interval = [round(0.85 * value, 5), round(min(1.12 * value, 1), 5)]
    return {"eer": value, "eer_interval": interval, "targets": 4500, "impostors": 50_000}


def _eer(value: float) -> dict[str, Any]:
    decided = {"false_accepts": 0.013, "false_rejects": 0.204}
    return _rate(value) | {"min_dcf": {"0.01": 0.8, "0.05": 0.6}, "cllr": 0.5, "min_cllr": 0.42} | decided


def _strata(clean: float, same_text: float | None, cross: float) -> dict[str, Any]:
    strata = {"all": _eer(clean), "different_text": _eer(clean)}
    if same_text is not None:
        strata["same_text_impostors"] = _eer(same_text)
    return {"clean": strata, "cross_condition": {"all": _eer(cross), "different_text": _eer(cross)}}


def _verification(eers: dict[str, Any]) -> dict[str, Any]:
    own = {space: _strata(*eers[space]) for space in ("speaker", "content")}
    layers = {layer: _strata(*eers[layer]) for layer in ("0", "1")}
    best = {"clean": min(layers, key=lambda layer: eers[layer][0]), "cross_condition": "1"}
    return own | {"raw": {"mean": _strata(*eers["mean"]), "best_layer": best, "layers": layers}}


def _gaps(eers: tuple[float, float | None, float]) -> dict[str, Any]:
    clean, same_text, cross = eers
    harder = {"same_text": same_text, "cross_condition": cross}
    return {
        name: {"value": round(eer - clean, 5), "interval": [0.01, 0.2], "ratio": round(eer / clean, 3)}
        | {"base": ["clean", "different_text"], "other": ["clean", "same_text_impostors"]}
        for name, eer in harder.items()
        if eer is not None
    }


def _severity(eer: float) -> dict[str, Any]:
    slopes = {"noise": 0.2, "room": 0.12, "band": 0.05, "codec": 0.03, "clipping": 0.08}
    return {
        name: {severity: _rate(round(eer + slope * float(severity), 5)) for severity in SEVERITIES}
        for name, slope in slopes.items()
    }


def _calibration() -> dict[str, Any]:
    bins = [[0.05 + 0.1 * i, min(1.0, 0.02 + 0.1 * i + 0.002 * i * i), 900 - 80 * i] for i in range(10)]
    line = {"slope": 15.8, "offset": -5.36, "shorter": 0.0, "longer": 0.0, "accept_at": 2.0}
    return {**line, "source": "synthetic", "bins": bins}


def _keywords(chance: float, found: tuple[tuple[float, float], ...]) -> dict[str, Any]:
    raw, _, content, speaker = (_words(chance, *pair) for pair in found)
    best = {"clean": "1", "cross_condition": "1"}
    raws = {"mean": raw, "best_layer": best, "layers": {"0": raw, "1": raw}}
    return {"speaker": speaker, "content": content, "raw": raws}


def _words(chance: float, probe: float, one_shot: float) -> dict[str, Any]:
    def shots(accuracy: float) -> dict[str, Any]:
        bounds = [round(accuracy - 0.03, 3), round(accuracy + 0.03, 3)]
        return {"accuracy": accuracy, "interval": bounds, "episodes": 100}

    open_set = {
        "unknown": 2,
        "known": 3,
        "shots": 5,
        "eer": 0.11,
        "eer_interval": [0.09, 0.13],
        "false_reject_at_false_accept": {"0.01": 0.4, "0.05": 0.2, "0.10": 0.12},
        "curve": [[1.0, 0.01], [0.5, 0.03], [0.1, 0.12], [0.01, 0.4], [0.0, 1.0]],
        "false_alarms_per_hour": [[0.5, 40.0, 0.05], [0.7, 5.0, 0.3]],
        "miss_at_false_alarms_per_hour": {"10": 0.2},
    }
    clean = {"chance": chance, "probe": probe, "probe_interval": [probe - 0.02, probe + 0.02]}
    clean |= {"shot_1": shots(one_shot), "shot_5": shots(min(one_shot + 0.1, 1)), "shot_10": None}
    cross = {"chance": chance, "shot_1": shots(0.8 * one_shot), "shot_5": None, "shot_10": None}
    return {"clean": clean | {"open_set": open_set}, "cross_condition": cross | {"open_set": None}}


def _running(precision: float) -> dict[str, Any]:
    curve = [[float(alarms), 1 - precision * alarms / (alarms + 20)] for alarms in (0, 1, 5, 10, 60, 200)]
    return {
        "keywords": ["yes", "no", "up"],
        "events": 300,
        "hours": 0.4,
        "window_seconds": 1.0,
        "hop_seconds": 0.1,
        "shots": 5,
        "checked": True,
        "curve": curve,
        "miss_at": {"10": curve[3][1], "60": curve[4][1]},
        "miss_interval": {rate: [0.0, 1.0] for rate in ("10", "60")},
        "average_precision": precision,
        "interval": [precision - 0.04, precision + 0.04],
    }


def _reading(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], "chance": 0.1}


def probed(accuracy: float, chance: float, mlp: float | None = None) -> dict[str, Any]:
    """A cell of the separation matrix."""

    def probe(value: float) -> dict[str, Any]:
        return {
            "accuracy": value,
            "interval": [round(value - 0.02, 4), round(value + 0.02, 4)],
            "shuffled": chance,
            "shuffled_interval": [round(0.8 * chance, 4), round(1.2 * chance, 4)],
            "seeds": 3,
        }

    return {
        "linear": probe(accuracy),
        "mlp": probe(accuracy if mlp is None else mlp),
        "chance": chance,
        "information": {
            "bits": round(3 * accuracy, 2),
            "interval": [1.0, 2.5],
            "mlp_bits": round(3 * (accuracy if mlp is None else mlp), 2),
            "mlp_interval": [1.0, 2.5],
            "entropy_bits": 3.5,
        },
        "classes": 12,
        "clips": 3927,
    }


def _separation(name: str) -> dict[str, Any]:
    clean, same_text, _ = _EERS[name]["speaker"]
    found: dict[str, Any] = {"speaker_eer_from": {"content": _EERS[name]["content"][0]}}
    if same_text is not None:
        found["same_text_cost_of"] = {"speaker": round(same_text / clean, 3)}
    if name not in _KEYWORDS:
        return found
    chance, (raw, _, content, speaker) = _KEYWORDS[name]
    found |= {"keyword_probe_from": {"speaker": speaker[0]}, "keyword_chance": chance}
    found["matrix"] = {
        "speaker": {
            "speaker": probed(0.93, 0.02, 0.95),
            "content": probed(0.11, 0.02, 0.16),
            "raw.1": probed(0.90, 0.02, 0.94),
        },
        "content": {
            "speaker": probed(speaker[0], chance, min(speaker[0] + 0.02, 1)),
            "content": probed(content[0], chance, content[0]),
            "raw.1": probed(raw[0], chance, raw[0]),
        },
        "gender": {
            "speaker": probed(0.98, 0.55, 0.99),
            "content": probed(0.61, 0.55, 0.66),
            "raw.1": probed(0.97, 0.55, 0.98),
        },
    }
    found["rejection"] = {"content": {"content": _reading(0.4)}}
    found["projection"] = {"content": {"content": _reading(0.96)}}
    angles = {"mean": 84.2, "min": 61.0, "random_mean": 73.4, "random_min": 65.1}
    found["geometry"] = {
        "content-speaker": {
            "cross_covariance": 0.04,
            "cross_covariance_by_chance": 0.01,
            "shared_bits": 0.2,
            "principal_angles": angles,
        }
    }
    found["abx"] = {"content": {"error": 0.06, "interval": [0.05, 0.07], "triples": 10_000}}
    found["blocks"] = {
        "dci": {"disentanglement": 0.7, "completeness": 0.6, "informativeness": 0.9},
        "mig": 0.3,
    }
    return found


def _baseline(about: str, row: str, column: int) -> dict[str, Any]:
    return {
        "about": about,
        "verification": {name: {"speaker": _strata(*eers[row])} for name, eers in _EERS.items()},
        "keywords": {
            name: {"content": _words(chance, *found[column])} for name, (chance, found) in _KEYWORDS.items()
        },
        "against": {
            name: {
                "difference": round(eers[row][0] - eers["speaker"][0], 5),
                "interval": [-0.01, 0.09],
                "p": 0.03,
            }
            for name, eers in _EERS.items()
        },
    }
