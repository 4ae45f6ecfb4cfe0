"""Columns of table A4, which its figure reads."""

DISTANCE, FLOOR = "Latent distance", "Latent distance, another noise"
PASSES = "Network passes"
