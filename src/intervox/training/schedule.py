"""How AdamW's learning rate and its momentum change from step to step; each follows from the step alone.

``one_cycle`` is Cox & Barker 2026's: ``torch.optim.lr_scheduler.OneCycleLR`` (Smith & Topin 2018) with
cosine annealing, a tenth of the steps to rise in, a start of a 25th and an end of a 25,000th of the peak.
The momentum (beta 1) falls from 0.95 to 0.85 while the rate rises, then rises again, as torch has it unless
told otherwise; the authors do not say.
"""

import math

from intervox.recipe.training import TrainingSettings

_RISE, _START, _END = 0.1, 1 / 25, 1 / 25e3
_MOMENTUM, _LEAST_MOMENTUM = 0.95, 0.85
_CONSTANT_MOMENTUM = 0.9
"""AdamW's default."""


def schedule(step: int, settings: TrainingSettings) -> float:
    """Return the share of the peak learning rate.

    ``cosine`` rises linearly over ``warmup_steps`` and falls to zero by half a cosine.

    Parameters
    ----------
    step
        Counted from 0, below ``settings.steps``.
    """
    if settings.schedule == "one_cycle":
        height, rises = _cycle(step, settings.steps)
        lowest = _START if rises else _END
        return lowest + (1 - lowest) * height
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def momentum(step: int, settings: TrainingSettings) -> float:
    """Return AdamW's beta 1 in a step."""
    if settings.schedule == "cosine":
        return _CONSTANT_MOMENTUM
    height, _ = _cycle(step, settings.steps)
    return _MOMENTUM - (_MOMENTUM - _LEAST_MOMENTUM) * height


def _cycle(step: int, steps: int) -> tuple[float, bool]:
    """Return how high the cycle is, from 0 to 1, and whether it rises; up to ten steps only fall."""
    top = _RISE * steps - 1
    rises = step <= top and top > 0
    done = step / top if rises else (step - top) / (steps - 1 - top)
    return 0.5 * (1 + (-1 if rises else 1) * math.cos(math.pi * done)), rises
