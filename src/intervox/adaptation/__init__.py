"""Post-training of the backbone itself: low-rank adapters, trained from waveforms."""
