"""What the models are worth: metrics of tables 3 and 4 (paper, 2.5.7), floors, tables."""

OVERALL = "Overall"
"""the row of a generator's metrics that pools the modalities as the paper does: weighted means"""
ALL_TOGETHER = "All together"
"""the row that judges the features of all modalities as one set"""
