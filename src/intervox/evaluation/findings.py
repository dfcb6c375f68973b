"""What single measures find: the leaves of the results.

Rates, accuracies and intervals are shares, not per cent. What was not measured is None, and absent from
the file.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from intervox.metrics.bootstrap import Interval

Cell = tuple[str, str]
"""A condition and a stratum."""


class Result(BaseModel):
    """A part of the results: fixed once made, without keys that nothing knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_serializer(mode="wrap")
    def _without_gaps(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        needed = {
            field.alias or name for name, field in type(self).model_fields.items() if field.is_required()
        }
        return {
            key: value for key, value in dump(self).items() if key in needed or value not in (None, {}, [])
        }


class Backbone(Result):
    """The speech foundation model whose features were measured."""

    name: str
    """As in the recipe."""
    fingerprint: str
    """Hash of its weights."""


class ProtocolAbout(Result):
    """The clips of a protocol."""

    clips: int
    """Clips that were measured."""
    failed: int
    """Clips that could not be read."""
    speakers: int
    """Different speakers."""
    contents: int
    """Different contents."""
    hours: float
    """Length of all clips."""
    languages: list[str]
    """BCP 47 tags."""
    licence: str
    """Of the recordings."""


class Rate(Result):
    """An equal error rate and the trials behind it."""

    eer: float
    """Equal error rate, a share."""
    eer_interval: Interval | None = None
    """Over resampled speakers."""
    targets: int
    """Trials of one speaker."""
    impostors: int
    """Trials of two speakers."""


class ErrorRates(Rate):
    """Verification on the trials of one stratum under one condition."""

    min_dcf: dict[str, float]
    """Lowest detection cost by the prior of a target, `"0.01"` and `"0.05"`."""
    cllr: float | None = None
    """Cost of the calibrated log-likelihood ratios, bits; absent where they can't be calibrated."""
    min_cllr: float
    """The same at the best calibration, bits."""
    false_accepts: float | None = None
    """Share of impostors that the default decision accepts; absent without a calibration."""
    false_rejects: float | None = None
    """Share of targets that the default decision refuses."""


class Gap(Result):
    """How much harder some trials are than others."""

    value: float
    """EER of `other` less that of `base`."""
    interval: Interval | None = None
    """Of the difference, over paired resamples."""
    ratio: float | None = None
    """EER of `other` over that of `base`; absent where the latter is 0."""
    base: Cell
    """`[condition, stratum]`"""
    other: Cell
    """`[condition, stratum]`"""


class Calibration(Result):
    """From a cosine to log odds, and how the probabilities come true."""

    slope: float
    """Of the log odds, per unit of cosine."""
    offset: float
    """Log odds at a cosine of 0 between clips of a second."""
    shorter: float = 0.0
    """Per unit of the logarithm of the shorter clip's seconds."""
    longer: float = 0.0
    """Per unit of the logarithm of the longer clip's seconds."""
    accept_at: float = 0.0
    """Log odds from which a pair is accepted by default."""
    source: str
    """Protocol that they were fitted on."""
    bins: list[tuple[float, float, int]]
    """`[mean predicted probability, share of targets, trials]`, on clean trials of the usual stratum."""


class Shots(Result):
    """Keywords told by prototypes of a few examples."""

    accuracy: float
    """Over all answers of all episodes."""
    interval: Interval | None = None
    """Over resampled speakers."""
    episodes: int
    """Draws of speakers and examples."""


class OpenSet(Result):
    """Keywords detected among words that were not enrolled."""

    unknown: int
    """Contents of an episode that are not enrolled."""
    known: int
    """Contents of an episode that are."""
    shots: int
    """Examples of each known content."""
    eer: float
    """Where as many keywords are missed as unknown words accepted."""
    eer_interval: Interval | None = None
    """Over resampled speakers."""
    false_reject_at_false_accept: dict[str, float]
    """Miss rate by false accept rate, `"0.01"`, `"0.05"`, `"0.10"`."""
    curve: list[tuple[float, float]]
    """`[false accept rate, false reject rate]`"""
    false_alarms_per_hour: list[tuple[float, float, float]] | None = None
    """`[threshold, false alarms per hour of unknown speech, miss rate]`; absent without durations."""
    miss_at_false_alarms_per_hour: dict[str, float] | None = None
    """Miss rate by false alarms per hour, `"10"`; absent likewise."""


class Keywords(Result):
    """Keyword recognition across speakers."""

    chance: float
    """Accuracy of always answering the commonest keyword."""
    probe: float | None = None
    """Accuracy of a linear classifier; clean clips alone."""
    probe_interval: Interval | None = None
    """Over resampled speakers."""
    shot_1: Shots | None = None
    """By one example per keyword; absent where a keyword has too few."""
    shot_5: Shots | None = None
    """By five."""
    shot_10: Shots | None = None
    """By ten."""
    open_set: OpenSet | None = None
    """Clean clips alone, not for baselines; absent with fewer than three contents."""


class Running(Result):
    """Keywords in running speech."""

    keywords: list[str]
    """What was enrolled."""
    events: int
    """Keywords said in the streams."""
    hours: float
    """Length of all streams."""
    checked: bool = True
    """No utterance between the words holds a keyword; false where transcripts are unknown."""
    window_seconds: float
    """Length of a window."""
    hop_seconds: float
    """From one window to the next."""
    shots: int
    """Examples of each keyword."""
    curve: list[tuple[float, float]]
    """`[false alarms per hour, miss rate]`"""
    miss_at: dict[str, float]
    """Miss rate by false alarms per hour, `"10"` and `"60"`."""
    miss_interval: dict[str, Interval] = Field(default_factory=dict)
    """Over resampled streams, by the same."""
    average_precision: float
    """Precision averaged over the recall of all that was said."""
    interval: Interval | None = None
    """Of the average precision, over resampled streams."""


class RawRunning(Running):
    """The best raw layer alone."""

    layer: str
    """Its number, chosen on the test itself."""


class SystemDifference(Result):
    """A system's EER against that of our speaker subspace on the same trials."""

    difference: float
    """Its EER less ours, on trials of the usual stratum."""
    interval: Interval | None = None
    """Over resampled speakers."""
    p: float | None = None
    """Two-sided, from the same resamples."""


class Against(SystemDifference):
    """The difference on clean clips, and on degraded ones."""

    cross_condition: SystemDifference | None = None
    """Both clips of a trial degraded."""


class Reading(Result):
    """What a linear probe reads."""

    accuracy: float
    """On groups that it was not trained on."""
    interval: Interval | None = None
    """Over resampled groups."""
    chance: float
    """Accuracy of always answering the commonest class."""


class ProbeAccuracy(Result):
    """One kind of probe, and its control."""

    accuracy: float
    """On groups that it was not trained on."""
    interval: Interval | None = None
    """Over resampled groups."""
    shuffled: float
    """Accuracy of the same probe trained on shuffled labels."""
    shuffled_interval: Interval | None = None
    """Over resampled groups."""
    seeds: int
    """How often it was trained."""


class Information(Result):
    """What the probes can use of a factor, in bits."""

    bits: float
    """V-information of the linear probe."""
    interval: Interval | None = None
    """Over resampled groups."""
    mlp_bits: float
    """V-information of the MLP."""
    mlp_interval: Interval | None = None
    """Over resampled groups."""
    entropy_bits: float
    """What there is to know."""


class Kept(Result):
    """What a space keeps of what the raw layers know of a factor."""

    share: float
    """Bits, as a share of the raw layers': the better of the two probes on either side."""
    interval: Interval | None = None
    """Over the same resampled groups on both sides."""


class ProbedFactor(Result):
    """How well one factor can be read from one space."""

    linear: ProbeAccuracy
    """A linear probe."""
    mlp: ProbeAccuracy
    """A probe with a hidden layer."""
    chance: float
    """Accuracy of always answering the commonest class."""
    information: Information
    """The same in bits."""
    classes: int
    """Different values of the factor."""
    clips: int
    """Clips that were probed."""
    kept: Kept | None = None
    """Beside the raw layers; none where these are not shown to know the factor."""


class PrincipalAngles(Result):
    """Angles between what two linear maps read, in degrees."""

    mean: float
    """Of all principal angles."""
    min: float
    """The smallest."""
    random_mean: float
    """The mean between random subspaces of the same ranks."""
    random_min: float
    """The smallest between them."""


class Geometry(Result):
    """How two spaces lie to each other."""

    cross_covariance: float
    """RV coefficient on the same clips, in [0, 1]."""
    cross_covariance_by_chance: float
    """Its mean where clips are paired at random."""
    shared_bits: float
    """Lower bound of the mutual information."""
    principal_angles: PrincipalAngles | None = None
    """Of two linear maps."""


class Abx(Result):
    """ABX across speakers, frame by frame."""

    error: float
    """Share of triples in which X is nearer to B; 0.5 is chance."""
    interval: Interval | None = None
    """Over resampled speakers."""
    triples: int
    """Triples compared."""


class Dci(Result):
    """Eastwood & Williams 2018, of whole spaces; 1 is best."""

    disentanglement: float
    """Whether a space knows one factor alone."""
    completeness: float
    """Whether a factor lies in one space alone."""
    informativeness: float
    """The best space's share of a factor's entropy, averaged over factors."""


class Blocks(Result):
    """Summary of the matrix over the own spaces."""

    dci: Dci
    """Disentanglement, completeness, informativeness."""
    mig: float
    """Gap between the best and the second space, as a share of a factor's entropy."""
