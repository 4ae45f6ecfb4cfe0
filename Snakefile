"""The study: configuration in, stages, targets. What each stage does is in `src/wfdm`."""

from snakemake.utils import min_version

min_version("9.27")


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
include: "workflow/rules/figures.smk"


onstart:
    plan.mark_root(study)


localrules:
    all,
    tables,
    figures,
    snapshot,


rule tables:
    input:
        results("data/coverage.tsv"),
        results("data/near_duplicates.tsv"),
        expand(results("tables/table{number}.csv"), number=[1, 3, 4, 8, 9, 10, 11]),
        results("tables/metrics.json"),
        results("tables/differences.csv"),


rule figures:
    input:
        expand(
            results("figures/figure{number}.{kind}"),
            number=[*([1] if study.figures.generator else []), 2, 3],
            kind=["pdf", "png"],
        ),


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,


rule snapshot:
    input:
        results("data/scans.tsv"),
        results("data/splits.tsv"),
        results("data/coverage.tsv"),
        results("data/manifest.tsv"),
