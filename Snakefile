"""The study: configuration in, stages, targets. What each stage does is in `src/wfdm`."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

# Before the configuration is read: elsewhere there is none, and every message would mislead.
if not Path(workflow.basedir).samefile("."):
    raise WorkflowError(
        f"Start Snakemake in {workflow.basedir}, without --directory: the configuration and the "
        "published tables are read from there. Where results go says 'results: /a/folder' in a "
        "configuration."
    )


configfile: "config/config.yaml"


container: "envs/wfdm.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/compressors.smk"
include: "workflow/rules/generators.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/timing.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/completion.smk"
include: "workflow/rules/few_steps.smk"
include: "workflow/rules/controllability.smk"
include: "workflow/rules/audits.smk"
include: "workflow/rules/audit_tables.smk"
include: "workflow/rules/report.smk"


onstart:
    try:
        plan.mark_root(study)
    except UserError as error:
        raise WorkflowError(str(error)) from None


localrules:
    all,
    tables,
    figures,
    snapshot,


rule tables:
    input:
        results("data/coverage.tsv"),
        results("data/near_duplicates.tsv"),
        TABLES.values(),
        rules.metrics.output,
        results("tables/differences.csv"),
        [results("tables/draws.csv")] if DRAWS else [],
        [results("tables/tableA1.csv")] if study.completions else [],
        [results("tables/tableA2.csv")] if study.controllability else [],
        [results("tables/tableA3.csv")] if study.memorisation else [],
        [results("tables/tableA4.csv")] if study.few_steps else [],
        [results("tables/planted.csv")] if PLANTS else [],


rule figures:
    input:
        expand(results("figures/{name}.{kind}"), name=FIGURES, kind=["pdf", "png"]),
        multiext(results("figures/figureA1"), ".pdf", ".png")
        if study.completions
        else [],
        FIGURES_A2.values(),
        multiext(results("figures/figureA3"), ".pdf", ".png")
        if study.memorisation
        else [],
        multiext(results("figures/figureA4"), ".pdf", ".png") if study.few_steps else [],


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.pages.output,


rule snapshot:
    input:
        results("data/scans.tsv"),
        results("data/people.tsv"),
        results("data/splits.tsv"),
        results("data/metadata_statistics.json"),
        results("data/coverage.tsv"),
        results("data/manifest.tsv"),
