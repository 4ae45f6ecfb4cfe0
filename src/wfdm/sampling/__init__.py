"""Sampling: schedules and samplers as pure functions, and the generation of volumes."""
