"""Data: sources, the scan table, people and splits, metadata, volumes, assets."""
