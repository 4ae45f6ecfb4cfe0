"""What every session needs and takes seconds to import: a pool does it once for its workers."""

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401

import wfdm.preprocess.work  # noqa: F401
from wfdm.preprocess.transforms import ants

ants()
