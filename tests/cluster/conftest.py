"""A cluster for the time of these tests, where one can be started."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster import slurm
from tests.workflow.conftest import finished, made, tiny  # noqa: F401 -- fixtures


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[slurm.Cluster]:
    """A running SLURM of one node."""
    if why := slurm.missing():
        pytest.skip(why)
    cluster = slurm.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            cluster.start()
        except (OSError, subprocess.SubprocessError) as error:  # a TimeoutError is an OSError
            pytest.skip(f"SLURM does not start on this machine: {error}")
        yield cluster
    finally:
        cluster.stop()
