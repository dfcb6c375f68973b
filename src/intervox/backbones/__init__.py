"""Frozen speech foundation models: waveforms in, the hidden states of every layer out."""
