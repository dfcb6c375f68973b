"""Cached hidden states: time-means of every layer, and frames where a recipe reads them."""
