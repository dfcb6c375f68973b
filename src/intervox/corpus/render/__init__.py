"""From the plan to audio."""
