"""What the audit of memorisation needs at the study's size: the second table of docs/cluster.md.

    python -m benchmarks.needs_audits       # makes the plan of the study with it, writes the table

As `benchmarks.needs`, of the rules that `config/memorisation.yaml` adds. The search for neighbours
reads each training scan once (`neighbours` of results/rates.csv) and compares it with each query
(`neighbours block`); what it holds is the queries of one modality.
"""

from collections.abc import Iterator
from math import prod, sqrt

import pandas as pd

from benchmarks.needs import (
    BOUND,
    FREE,
    H100,
    LATENT,
    MEASURED,
    PAGE,
    ROOT,
    START,
    Need,
    overlaid,
    resolved,
    rows,
    table,
    wanting,
)
from benchmarks.needs import needs as study_needs
from benchmarks.page import put
from benchmarks.rates_read import Rates
from wfdm.config.memorisation import MemorisationSettings
from wfdm.config.study import Study
from wfdm.stages import rows as rows_of

ASKED = {"memorisation": {"compressor": "wf-sa-vae"}}
BLOCK = 64 * 64  # pairs of `neighbours block`
MODALITIES = ("T1w", "T2w", "FLAIR", "T1Gd")


def needs(study: Study) -> list[Need]:
    """Return what the rules of the audit need for the paper's scans, in the order of the work."""
    given = study.model_copy(update={"memorisation": MemorisationSettings()})
    return list(_needs(resolved(given), Rates()))


def own(declared: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the rules of a plan that `benchmarks.needs` does not count."""
    counted = {need.rule for need in study_needs(Study())} | FREE
    return {rule: asked for rule, asked in declared.items() if rule not in counted}


def _needs(study: Study, r: Rates) -> Iterator[Need]:
    """As `needs`, of a study whose rows are resolved."""
    scans = pd.read_csv(ROOT / "config/published/table1.csv").set_index("key")
    train, validation, tested = (int(scans[name]["Total"]) for name in ("Train", "Val", "Test"))
    audited, shards, load = rows_of.table2(study), study.shards, r.cpu("load")
    known = len(rows_of.known_copies(study))
    many = len(audited) + known
    mine = tested / shards
    yield Need(
        "sample_training", known * shards, known * tested, load + r.cpu("write"), r.model_mb, H100,
        START, r.encode + r.decode, r.disk("write"),
    )  # fmt: skip
    yield rows(r, "samples_training", known, known, "join")
    most = (train + validation) / shards
    yield Need(
        "features_training", (1 + known) * shards, train + validation + known * tested, load,
        r.mb("features"), BOUND, START, r.on_gpu("features", 1), r.disk("features"),
        largest=most + 3 * sqrt(most),
    )  # fmt: skip
    yield Need(
        "encode_samples", many * shards, many * tested, load, r.model_mb, H100, START, r.encode,
        4 * prod(LATENT) / 1e6, largest=mine + 3 * sqrt(mine),
    )  # fmt: skip

    def neighbours(rule: str, jobs: int, *splits: str) -> Need:
        asking = {name: int(scans.loc[name, list(splits)].sum()) for name in MODALITIES}
        pairs = sum(count * int(scans["Train"][name]) for name, count in asking.items())
        cpu = r.cpu("neighbours") * train + r.cpu("neighbours block") * pairs / BLOCK
        held = max(asking.values()) * prod(LATENT) * 4 / 1e6
        mb = r.mb("neighbours", "neighbours block") + held
        return Need(rule, jobs, jobs, cpu, mb, MEASURED, r.start("neighbours"), largest=1)

    yield neighbours("neighbours", many, "Test")
    yield neighbours("neighbours_real", 1, "Val", "Test")
    yield rows(r, "memorisation", many, many, "memorisation")
    yield rows(r, "memorisation_floor", 1, 1, "memorisation")
    rows_ = [study.generators[name] for name in audited]
    denoisers = {row.denoiser for row in rows_ if row.kind == "diffusion"}
    asked = study.memorisation.membership
    answers = len(denoisers) * 2 * asked.scans * asked.times
    yield Need("membership", len(denoisers), answers, 0, r.model_mb, H100, START, r.step)
    yield rows(r, "tableA3", 1, 1, "table3")
    shown = 4 * 2 * len(audited)
    yield Need("figureA3", 1, shown, load, r.mb("image-hash"), BOUND, START)


def main() -> None:
    """Write the table into the page."""
    declared, found = own(overlaid(ASKED)), needs(Study())
    put(PAGE, "benchmarks/needs_audits.py", table(found, declared))
    print(*wanting(found, declared), sep="\n")


if __name__ == "__main__":
    main()
