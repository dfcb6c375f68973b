"""Training of the subspaces, and of the backbone itself."""
