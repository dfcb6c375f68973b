"""Named subspaces of a backbone's layers: the model, the multi-part loss and the training loop."""
