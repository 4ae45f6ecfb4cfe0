"""Where a phantom's lesion truly is."""

from pathlib import Path

import nibabel as nib
import numpy as np

from wfdm.config.cohort import Modality, PhantomSource
from wfdm.data.sources.phantom import dataset_named
from wfdm.phantom import anatomy as people
from wfdm.phantom.acquisition import draw_visit, sample, voxel_map
from wfdm.seeds import generator_for

VOXEL_MM = (2.0, 2.0, 2.0)
"""of the map: finer than a phantom's scans, whose world it shares"""


def lesion_map(
    source: PhantomSource,
    seed: int,
    dataset: str,
    subject: str,
    session: str,
    modality: Modality,
    head: Path,
    brain: Path,
) -> nib.Nifti1Image | None:
    """Return how much of each voxel is core, rim or oedema, in the world of one scan.

    Args:
        source: the cohort's settings.
        seed: the study's seed.
        dataset: name of one of its datasets.
        subject: label without "sub-".
        session: label without "ses-".
        modality: of the scan: the head moves a little between scans.
        head: the template's whole head, 1 mm.
        brain: the same, skull-stripped.

    Returns:
        float32 in [0, 1], RAS; None where the dataset's people have no lesion.

    Raises:
        UserError: for an unknown dataset or a template that cannot serve.
    """
    settings = dataset_named(source, dataset)
    template = people.load_template(Path(head), Path(brain))
    anatomy, pose = draw_visit(settings, seed, subject, session, template)
    if anatomy.lesion is None:
        return None
    rng = generator_for(seed, "phantom", dataset, subject, session, modality)
    box, parts = people.lesion_maps(template, anatomy.lesion)
    whole = np.zeros(template.brain.shape, np.float32)
    whole[box] = np.clip(sum(parts.values()), 0, 1)
    coordinates, affine = voxel_map(anatomy, pose.moved(rng), VOXEL_MM)
    return nib.Nifti1Image(sample(whole, coordinates), affine)
