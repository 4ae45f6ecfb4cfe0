"""Phantoms that tests plan and make."""

from wfdm.config.cohort import PhantomDataset, PhantomSource


def source(**changes) -> PhantomSource:
    one = {
        "name": "ONE",
        "people": 6,
        "second_sessions": 2,
        "modalities": {"T1w": 1.0, "T2w": 0.6, "T1Gd": 1.0, "FLAIR": 0.5},
        "lesions": True,
        "voxel_mm": (2.0, 2.5, 3.0),
    }
    two = {"name": "TWO", "people": 5, "modalities": {"FLAIR": 0.4}, "voxel_mm": (2.0, 2.0, 2.0)}
    return PhantomSource(
        kind="phantom", datasets=[PhantomDataset(**(one | changes)), PhantomDataset(**two)]
    )
