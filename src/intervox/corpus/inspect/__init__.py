"""Look at a corpus: check, show, card, coverage."""
