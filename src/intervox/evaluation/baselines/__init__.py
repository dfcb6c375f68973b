"""What the subspaces are compared with: other ways to as many dimensions, from the same cells."""
