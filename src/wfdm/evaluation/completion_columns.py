"""What the table of judged completions holds: its columns, and the methods that its rows are of."""

BRAIN, LESION = "brain", "lesion"
METRICS = ("PSNR", "SSIM", "MSE")
COMPLETED, UNET, NEAREST, MEAN = "completed", "unet", "nearest", "mean"
RECONSTRUCTED = "reconstructed"
METHODS = (COMPLETED, UNET, NEAREST, MEAN, RECONSTRUCTED)
"""the completion; a plain U-Net trained on the same draws; the nearest training session's scan; the
mean volume of the modality; the scan itself through the compressor"""
VALUES = tuple(f"{region} {metric}" for region in (BRAIN, LESION) for metric in METRICS)
COLUMNS = ("scan_id", "modality", "sources", "method", *VALUES)
