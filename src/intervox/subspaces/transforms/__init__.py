"""From a subspace's inputs to its vectors: one class a kind of map."""
