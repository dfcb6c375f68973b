"""The label of an unknown value."""

UNLABELLED = -1
"""Label of a cell whose value of a factor is unknown; it takes no part in that factor's loss."""
