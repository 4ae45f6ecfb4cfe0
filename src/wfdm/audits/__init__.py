"""Audits of a trained generator: what its conditions change, and what it has memorised."""
