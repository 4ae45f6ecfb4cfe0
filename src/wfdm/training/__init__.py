"""Training: one resumable loop and what is trained with it."""
