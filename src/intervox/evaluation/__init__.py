"""Does it separate, and on whose speech? Verification, keywords, probes, baselines and studies."""

SYNTHETIC = "synthetic"
"""Name of the protocol that is not human speech: a run's held-out cells."""
