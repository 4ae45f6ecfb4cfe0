# The paper's tables, this study's value beside the published one.

from wfdm.tables.table3 import BY_MODALITY

MODALITY_OF = {str(number): modality for modality, number in BY_MODALITY.items()}
RECONSTRUCTIONS = {
    name: results(f"evaluation/reconstruction/{name}.csv") for name in COMPRESSORS
}
SYNTHESES = {
    name: results(f"evaluation/synthesis/{name}.csv") for name in study.generators
}
HISTORIES = {
    **{
        f"compressors/{name}": results(f"compressors/{name}/history.csv")
        for name, row in COMPRESSORS.items()
        if row.training
    },
    **{
        f"denoisers/{name}": results(f"denoisers/{name}/history.csv")
        for name in study.denoisers
    },
}


localrules:
    differences,
    table1,
    table3,
    table4,
    table8to11,
    metrics,


rule differences:
    output:
        table=results("tables/differences.csv"),
    log:
        results("logs/differences.log"),
    benchmark:
        results("logs/differences.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: plan.numbers_of(study, "differences"),
        paper=lambda _: plan.numbers_of(Study(), "differences"),
        absent=option("absent", [f"{name}={path}" for name, path in ABSENT.items()]),
        code=lambda _: code_of("differences"),
    message:
        "List what differs from the paper's study"
    shell:
        "wfdm differences --settings {params.settings:q} {params.absent} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table1:
    input:
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        published="config/published/table1.csv",
    output:
        table=results("tables/table1.csv"),
    log:
        results("logs/table1.log"),
    benchmark:
        results("logs/table1.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("table1"),
        note=lambda _: option("note", [note_of("table1")]),
        code=lambda _: code_of("table1"),
    message:
        "Table 1: scans per split"
    shell:
        "wfdm table1 --settings {params.settings:q} --scans {input.scans:q} "
        "--splits {input.splits:q} --published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table3:
    input:
        rows=RECONSTRUCTIONS.values(),
        floor=results("evaluation/reconstruction/mean_volume.csv"),
        published="config/published/table3.csv",
    output:
        table=results("tables/table3.csv"),
    log:
        results("logs/table3.log"),
    benchmark:
        results("logs/table3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("compressors", RECONSTRUCTIONS),
        only="",
        note=lambda _: option("note", [note_of("table3")]),
        code=lambda _: code_of("table3"),
    message:
        "Table 3: reconstruction by compressor"
    shell:
        "wfdm table3 {params.rows} {params.only} --floor {input.floor:q} "
        "--published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


use rule table3 as table8to11 with:
    input:
        rows=RECONSTRUCTIONS.values(),
        floor=rules.table3.input.floor,
        published="config/published/table{number}.csv",
    output:
        table=results("tables/table{number}.csv"),
    log:
        results("logs/table{number}.log"),
    benchmark:
        results("logs/table{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(MODALITY_OF),
    params:
        rows=rows("compressors", RECONSTRUCTIONS),
        only=lambda wildcards: f"--modality {MODALITY_OF[wildcards.number]}",
        modality=lambda wildcards: MODALITY_OF[wildcards.number],
        note=lambda _: option("note", [note_of("table3")]),
        code=lambda _: code_of("table3"),
    message:
        "Table {wildcards.number}: reconstruction of {params.modality} by compressor"


rule table4:
    input:
        rows=SYNTHESES.values(),
        published="config/published/table4.csv",
    output:
        table=results("tables/table4.csv"),
    log:
        results("logs/table4.log"),
    benchmark:
        results("logs/table4.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("generators", SYNTHESES),
        note=lambda _: option("note", [note_of("table4")]),
        code=lambda _: code_of("table4"),
    message:
        "Table 4: realism and diversity by generator"
    shell:
        "wfdm table4 {params.rows} --published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule metrics:
    input:
        table3=results("tables/table3.csv"),
        table4=results("tables/table4.csv"),
        histories=HISTORIES.values(),
    output:
        metrics=results("tables/metrics.json"),
        curves=[results(f"tables/curves/{name}.csv") for name in HISTORIES],
    log:
        results("logs/metrics.log"),
    benchmark:
        results("logs/metrics.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        histories=option(
            "history", [f"{name}={path}" for name, path in HISTORIES.items()]
        ),
        code=lambda _: code_of("metrics"),
    message:
        "Numbers of tables 3 and 4 and curves of the trainings, for DVC"
    shell:
        "wfdm metrics --row table3={input.table3:q} --row table4={input.table4:q} "
        "{params.histories} --out {output.metrics:q} 2>&1 | tee {log:q}"
