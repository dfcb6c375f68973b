"""The learning rate of each step, decided by the step alone."""

import math

from intervox.recipe_training import TrainingSettings


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Rise linearly over the warm-up, then fall to zero by a half cosine or a line, or stay.

    Parameters
    ----------
    step
        Counted from 0, below ``settings.steps``.
    """
    peak = settings.learning_rate
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
