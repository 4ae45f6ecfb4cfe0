"""What the models are worth: metrics of tables 3 and 4 (paper, 2.5.7), floors, tables."""

OVERALL = "Overall"
"""the row of a generator's metrics that pools the modalities as the paper does"""
TOGETHER = "All together"
"""the row of a generator's metrics whose FID, KID and MMD see all modalities as one set"""
SYNTHESIS = (
    "modality",
    "n_real",
    "n_synthetic",
    "FID",
    "FID low",
    "FID high",
    "MMD",
    "MMD low",
    "MMD high",
    "KID",
    "MMD fixed",
    "MS-SSIM",
    "pairs",
    "recognised",
    "FID zscore-dataset",
    "MMD zscore-dataset",
    "extractor",
    "extractor_sha256",
    "seed",
    "note",
)
"""columns of evaluation/synthesis/NAME.csv, where `evaluation.intensity` is as by default"""
