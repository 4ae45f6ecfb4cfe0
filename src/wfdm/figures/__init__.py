"""The paper's figures, drawn from this study's volumes and models."""

BY_MODALITY = {"T1w": 4, "T2w": 5, "T1Gd": 6, "FLAIR": 7}
"""figures of appendix C"""
