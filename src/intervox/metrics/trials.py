"""Verification trials in interventional strata.

The strata ask more than "same voice?": targets never share a text, and in ``same_text_impostors``
every impostor says exactly the enrolled words. A representation that answers "same words?" fails
there. Others hold the session or the duration.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Streams = Callable[..., np.random.Generator]
"""Random numbers by the name of their use and an index: ``seeds.rng`` of one seed."""

Pairs = NDArray[np.int64]
"""Shape (trials, 2): clips."""

PAIR_LIMIT = 2_000_000
"""More pairs within a factor than this are sampled instead of listed."""

BANDS = {"short": (0.0, 1.5), "medium": (1.5, 4.0), "long": (4.0, np.inf)}
"""Seconds of both clips: over the first bound, up to the second."""

STRATA = ("all", "different_text", "same_text_impostors", "same_session", "cross_session", *BANDS)
"""What ``draw_trials`` can form, beside official lists."""

PAIR_COLUMNS = ("enrol", "test", "enrol_speaker", "test_speaker", "enrol_content", "test_content", "target")
"""Columns of a trial file that say who is compared with whom; those of strata and scores follow."""


@dataclass(frozen=True)
class Trials:
    """Pairs of clips of one stratum, in the form that scoring wants.

    Attributes
    ----------
    targets, impostors
        Shape (trials, 2): clip indices.
    """

    targets: Pairs
    impostors: Pairs


@dataclass(frozen=True, eq=False)
class TrialList:
    """Trials as a corpus publishes them.

    Attributes
    ----------
    enrol, test
        Shape (trials,): clip indices.
    target
        Shape (trials,): whether both are of one speaker.
    """

    enrol: NDArray[np.int64]
    test: NDArray[np.int64]
    target: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.target)

    def take(self, kept: NDArray[np.bool_]) -> "TrialList":
        """Keep the trials of the clips that are kept, numbered among these."""
        number = np.cumsum(kept) - 1
        both = kept[self.enrol] & kept[self.test]
        return TrialList(number[self.enrol[both]], number[self.test[both]], self.target[both])


def usual_stratum(there: Container[str]) -> str:
    """Name the stratum of single figures: different texts, or any pair where no texts are known."""
    return "different_text" if "different_text" in there else "all"


def draw_trials(
    labels: Mapping[str, NDArray[Any]],
    duration: NDArray[np.float64],
    max_trials: int,
    streams: Streams,
    lists: Mapping[str, TrialList] | None = None,
) -> dict[str, Trials]:
    """Form the trials of every stratum, at most ``max_trials`` targets and as many impostors each.

    Parameters
    ----------
    labels
        ``speaker``, ``content`` and, where it is known, ``session``: shape (clips,) each.
    duration
        Shape (clips,): seconds, 0 where it is unknown.
    max_trials
        Larger sets are drawn at random, without replacement.
    streams
        Decide the draw.
    lists
        Official trials by name; they are taken whole.

    Returns
    -------
    dict
        Stratum to trials; one without targets or without impostors is absent.

        ``all``: any pair. ``different_text``: neither targets nor impostors share a text.
        ``same_text_impostors``: those targets, against impostors that share it.

        ``same_session``, ``cross_session``: targets of different text whose clips share their
        session, or do not; of speakers who have both kinds, so that the two differ by the session
        alone. Both face the same impostors, those of ``different_text``: a session's label need not
        mean the same for two speakers, so it can't match impostors. Clips of unknown session are
        left out.

        ``short``, ``medium``, ``long``: different text, both clips of the band (see ``BANDS``);
        only where more than one band has trials.

        ``list:<name>``: an official list.
    """
    random = streams("trials")
    who = np.unique(labels["speaker"], return_inverse=True)[1]
    what = np.unique(labels["content"], return_inverse=True)[1]
    same_speaker = _pairs_within(who, streams("trials.same_speaker"))
    same_text = _pairs_within(what, streams("trials.same_text"))
    anyone = _random_pairs(len(who), 4 * max_trials, random)
    others = _differ(anyone, who)

    different = _differ(same_speaker, what)
    # The order of the draws is kept from version to version, so that figures stay comparable.
    targets = _at_most(different, max_trials, random)
    trials = {
        "all": Trials(
            _at_most(same_speaker, max_trials, random), _at_most(others, max_trials, random)
        ),
        "different_text": Trials(targets, _at_most(_differ(others, what), max_trials, random)),
        "same_text_impostors": Trials(targets, _at_most(_differ(same_text, who), max_trials, random)),
    }  # fmt: skip
    impostors = trials["different_text"].impostors
    if "session" in labels:
        random = streams("trials.session")
        trials |= _by_session(labels["session"], who, different, impostors, max_trials, random)
    trials |= _by_duration(duration, who, what, max_trials, streams)
    for name, given in (lists or {}).items():
        pairs = np.stack([given.enrol, given.test], axis=1)
        trials[f"list:{name}"] = Trials(pairs[given.target], pairs[~given.target])
    return {name: t for name, t in trials.items() if _populated(t)}


def draw_factor_trials(
    labels: Mapping[str, NDArray[np.int64]],
    factor: str,
    others: Sequence[str],
    max_trials: int,
    random: np.random.Generator,
) -> Trials:
    """Draw trials that ask for one factor: targets share it alone, impostors differ in all.

    An error rate on them falls only where a space tells the factor by something that the others do not
    carry.

    Parameters
    ----------
    labels
        Factor to numbers of shape (clips,). A negative number is an unknown value: its clips are in no trial
        of that factor, and unknown values of another factor count as one value.
    factor
        What is asked for.
    others
        Factors in which both clips differ. One that never differs within a value of ``factor`` (a speaker's
        language) can't be asked to, and is ignored.
    max_trials
        Targets, and impostors, at most; each pair once.

    Returns
    -------
    Trials
        Both kinds may be empty.
    """
    known = np.flatnonzero(labels[factor] >= 0)
    alike = known[_pairs_within(labels[factor][known], random)]
    unlike = _differ(known[_random_pairs(len(known), 4 * max_trials, random)], labels[factor])
    for other in others:
        if len(differ := _differ(alike, labels[other])):
            alike, unlike = differ, _differ(unlike, labels[other])
    return Trials(_at_most(alike, max_trials, random), _at_most(unlike, max_trials, random))


def _by_session(
    sessions: NDArray[np.str_],
    who: NDArray[np.int64],
    targets: Pairs,
    impostors: Pairs,
    max_trials: int,
    random: np.random.Generator,
) -> dict[str, Trials]:
    """Part the targets whose sessions are known, of speakers who have both kinds."""
    known = sessions != ""
    targets, impostors = (pairs[known[pairs].all(axis=1)] for pairs in (targets, impostors))
    where = np.unique(sessions, return_inverse=True)[1]
    same = where[targets[:, 0]] == where[targets[:, 1]]
    speaker = who[targets[:, 0]]
    paired = np.isin(speaker, np.intersect1d(speaker[same], speaker[~same]))
    return {
        "same_session": Trials(_at_most(targets[paired & same], max_trials, random), impostors),
        "cross_session": Trials(_at_most(targets[paired & ~same], max_trials, random), impostors),
    }


def _by_duration(
    duration: NDArray[np.float64],
    who: NDArray[np.int64],
    what: NDArray[np.int64],
    max_trials: int,
    streams: Streams,
) -> dict[str, Trials]:
    """Draw within each band anew: few of the pairs of all clips have both in a rare one."""
    found = {}
    for index, (name, (shortest, longest)) in enumerate(BANDS.items()):
        random = streams("trials.duration", index)
        rows = np.flatnonzero((duration > shortest) & (duration <= longest))
        targets = _differ(rows[_pairs_within(who[rows], random)], what)
        anyone = rows[_random_pairs(len(rows), 4 * max_trials, random)]
        impostors = _differ(_differ(anyone, who), what)
        trials = Trials(_at_most(targets, max_trials, random), _at_most(impostors, max_trials, random))
        if _populated(trials):
            found[name] = trials
    return found if len(found) > 1 else {}


def _populated(trials: Trials) -> bool:
    return len(trials.targets) > 0 and len(trials.impostors) > 0


def _differ(pairs: Pairs, labels: NDArray[np.int64]) -> Pairs:
    return np.asarray(pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]])


def _at_most(pairs: Pairs, limit: int, random: np.random.Generator) -> Pairs:
    if len(pairs) <= limit:
        return pairs
    return pairs[np.sort(random.choice(len(pairs), limit, replace=False))]


def _pairs_within(labels: NDArray[np.int64], random: np.random.Generator) -> Pairs:
    """Pairs of clips that share a label: all, or past a bound a sample of them."""
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    total = int(ends[-1]) if len(ends) else 0
    every = total <= PAIR_LIMIT
    chosen = np.arange(total) if every else _distinct(random.integers(total, size=PAIR_LIMIT))
    group = np.searchsorted(ends, chosen, side="right")
    # Pairs are numbered row by row of a group's upper triangle; from its end, row r starts at r(r+1)/2.
    left = ends[group] - 1 - chosen
    row = ((np.sqrt(8 * left + 1) - 1) / 2).astype(np.int64)
    last = np.cumsum(sizes)[group] - 1
    first = last - 1 - row
    second = last - (left - row * (row + 1) // 2)
    return np.stack([order[first], order[second]], axis=1)


def _random_pairs(clips: int, wanted: int, random: np.random.Generator) -> Pairs:
    """Different unordered pairs of clips, all of them where there are not more than wanted."""
    if clips * (clips - 1) // 2 <= wanted:
        return np.stack(np.triu_indices(clips, 1), axis=1).astype(np.int64)
    pairs = np.sort(random.integers(clips, size=(wanted + wanted // 4, 2)), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    codes = _distinct(pairs[:, 0] * clips + pairs[:, 1])
    chosen = codes[np.sort(random.permutation(len(codes))[:wanted])]
    return np.stack(np.divmod(chosen, clips), axis=1)


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort and drop repetitions; ``np.unique`` hashes, a hundred times as slow for millions."""
    numbers = np.sort(numbers)
    return np.asarray(numbers[np.diff(numbers, prepend=-1) > 0])
