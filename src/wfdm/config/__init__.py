"""Configuration: the study's sections, what each stage reads, and the files."""
