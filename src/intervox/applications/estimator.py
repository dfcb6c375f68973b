"""What scikit-learn asks of a classifier, without scikit-learn."""

from inspect import signature
from typing import Any, Self

import numpy as np


class Estimator:
    """Parameters by name, as ``sklearn.base.clone``, pipelines and searches use them.

    The parameters are those of the constructor, which keeps each under its name.
    """

    _estimator_type = "classifier"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters by name; none of them has parameters of its own."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        ValueError
            A name is unknown, which scikit-learn relies on.
        """
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise ValueError(f"{name!r} is no parameter of {type(self).__name__}: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def score(self, X: Any, y: Any) -> float:
        """Return the share of clips that ``predict`` names right."""
        return float(np.mean(self.predict(X) == np.asarray(y)))  # type: ignore[attr-defined]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False),
        )

    def __repr__(self) -> str:
        defaults = signature(type(self)).parameters
        given = (
            (name, value) for name, value in self.get_params().items() if value != defaults[name].default
        )
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given)})"
