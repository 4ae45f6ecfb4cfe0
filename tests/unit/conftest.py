"""Fixtures that several files share: the atlas's head, and where its brain is."""

import nibabel as nib
import numpy as np
import pytest

from wfdm.data.volumes import read_image
from wfdm.preprocess.registration import region_around


@pytest.fixture(scope="module")
def head(atlas) -> nib.Nifti1Image:
    """The whole head of SRI-24."""
    return read_image(atlas["sri24-head"])


@pytest.fixture(scope="module")
def region(atlas) -> nib.Nifti1Image:
    """Where registrations compare."""
    return region_around(np.asarray(read_image(atlas["sri24"]).dataobj) > 0)
