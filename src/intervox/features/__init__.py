"""Cached time-means of every layer, from which the subspaces are trained."""
