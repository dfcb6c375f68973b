"""Trainings compared: sweeps and ingredients."""
