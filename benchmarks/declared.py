"""What the jobs of a plan ask for, by rule, from Snakemake itself; nothing is run.

    python -m benchmarks.declared --configfile FILE [FILE ...] -- TARGET [TARGET ...]

prints JSON: how many jobs each rule has, and threads, mem_mb, runtime (minutes) and gpu of its
jobs, the most of each. Snakemake's printed plan shows messages instead. No thread is left out for
want of cores, as on a cluster.
"""

import argparse
import json
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

CORES = 1000


def declared(configs: list[Path], targets: list[str]) -> dict[str, dict[str, int]]:
    """Return jobs, threads, mem_mb, runtime and gpu of each rule of the plan."""
    found: dict[str, dict[str, int]] = {}
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=CORES),
            config_settings=ConfigSettings(configfiles=configs),
        )
        plan = workflow.dag(DAGSettings(targets=set(targets)))
        plan.execute_workflow(executor="dryrun", updated_files=[])
        for job in workflow._workflow.dag.needrun_jobs(exclude_finished=False):
            asked = {"threads": job.threads, "gpu": 0} | dict(job.resources.items())
            rule = found.setdefault(job.rule.name, {"jobs": 0})
            rule["jobs"] += 1
            for name in ("threads", "mem_mb", "runtime", "gpu"):
                rule[name] = max(rule.get(name, 0), asked.get(name, 0))
    return found


def main() -> None:
    """Print what a plan's jobs ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", nargs="+", type=Path, default=[])
    parser.add_argument("targets", nargs="+")
    given = parser.parse_args()
    print(json.dumps(declared(given.configfile, given.targets)))


if __name__ == "__main__":
    main()
