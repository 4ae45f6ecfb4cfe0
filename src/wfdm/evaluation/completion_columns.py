"""What the table of judged completions holds: its columns, and the methods that its rows are of."""

BRAIN, LESION = "brain", "lesion"
METRICS = ("PSNR", "SSIM", "MSE")
COMPLETED, NEAREST, MEAN = "completed", "nearest", "mean"
METHODS = (COMPLETED, NEAREST, MEAN)
"""the completion; the scan of the nearest training session; the mean volume of the modality"""
VALUES = tuple(f"{region} {metric}" for region in (BRAIN, LESION) for metric in METRICS)
COLUMNS = ("scan_id", "modality", "sources", "method", *VALUES)
