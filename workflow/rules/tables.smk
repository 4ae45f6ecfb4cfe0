# The paper's tables, this study's value beside the published one.

from wfdm.tables import table3, table4, table5

RECONSTRUCTED, SYNTHESISED, SCHEDULED = (
    {str(number): modality for modality, number in table.BY_MODALITY.items()}
    for table in (table3, table4, table5)
)
RECONSTRUCTIONS = {
    name: results(f"evaluation/reconstruction/{name}.csv") for name in COMPRESSORS
}
SYNTHESES = {
    name: results(f"evaluation/synthesis/{name}.csv") for name in rows_of.table4(study)
}
SCHEDULES = {
    key: results(f"evaluation/synthesis/{name}.csv")
    for key, name in rows_of.table5(study).items()
}
SYSTEMS = {name: described_by(name) for name in rows_of.table2(study)}
DRAWS = rows_of.draws(study)
HISTORIES = {
    **{
        f"compressors/{name}": results(f"compressors/{name}/history.csv")
        for name, row in COMPRESSORS.items()
        if row.training
    },
    **{
        f"denoisers/{name}": results(f"denoisers/{name}/history.csv")
        for name in [*study.denoisers, *study.distilled]
    },
    **{f"gans/{name}": results(f"gans/{name}/history.csv") for name in study.gans},
}


localrules:
    differences,
    table1,
    table2,
    table3,
    table4,
    table5,
    table8to11,
    table12to15,
    table16to19,
    draws,
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
        others=multiext(results("tables/table1"), ".md", ".tex"),
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


rule table2:
    input:
        rows=SYSTEMS.values(),
        published="config/published/table2.csv",
    output:
        table=results("tables/table2.csv"),
        others=multiext(results("tables/table2"), ".md", ".tex"),
    log:
        results("logs/table2.log"),
    benchmark:
        results("logs/table2.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("table2"),
        rows=rows("generators", SYSTEMS),
        latents=lambda _: modelled_by(SYSTEMS),
        code=lambda _: code_of("table2"),
    message:
        "Table 2: the synthesis models"
    shell:
        "wfdm table2 --settings {params.settings:q} {params.rows} {params.latents} "
        "--published {input.published:q} --out {output.table:q} 2>&1 | tee {log:q}"


rule table3:
    input:
        rows=RECONSTRUCTIONS.values(),
        floor=results("evaluation/reconstruction/mean_volume.csv"),
        published="config/published/table3.csv",
    output:
        table=results("tables/table3.csv"),
        others=multiext(results("tables/table3"), ".md", ".tex"),
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
        others=multiext(results("tables/table{number}"), ".md", ".tex"),
    log:
        results("logs/table{number}.log"),
    benchmark:
        results("logs/table{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(RECONSTRUCTED),
    params:
        rows=rows("compressors", RECONSTRUCTIONS),
        only=lambda wildcards: f"--modality {RECONSTRUCTED[wildcards.number]}",
        modality=lambda wildcards: RECONSTRUCTED[wildcards.number],
        note=lambda _: option("note", [note_of("table3")]),
        code=lambda _: code_of("table3"),
    message:
        "Table {wildcards.number}: reconstruction of {params.modality} by compressor"


rule table4:
    input:
        rows=SYNTHESES.values(),
        audits=lambda _: audits_of(SYNTHESES),
        published="config/published/table4.csv",
    output:
        table=results("tables/table4.csv"),
        others=multiext(results("tables/table4"), ".md", ".tex"),
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
        only="",
        note=lambda _: with_audits(option("note", [note_of("table4")]), SYNTHESES),
        code=lambda _: code_of("table4"),
    message:
        "Table 4: realism and diversity by generator"
    shell:
        "wfdm table4 {params.rows} {params.only} --published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


use rule table4 as table12to15 with:
    input:
        rows=SYNTHESES.values(),
        audits=lambda _: audits_of(SYNTHESES),
        published="config/published/table{number}.csv",
    output:
        table=results("tables/table{number}.csv"),
        others=multiext(results("tables/table{number}"), ".md", ".tex"),
    log:
        results("logs/table{number}.log"),
    benchmark:
        results("logs/table{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(SYNTHESISED),
    params:
        rows=rows("generators", SYNTHESES),
        only=lambda wildcards: f"--modality {SYNTHESISED[wildcards.number]}",
        modality=lambda wildcards: SYNTHESISED[wildcards.number],
        note=lambda _: with_audits(option("note", [note_of("table4")]), SYNTHESES),
        code=lambda _: code_of("table4"),
    message:
        "Table {wildcards.number}: realism and diversity of {params.modality} by generator"


rule table5:
    input:
        rows=SCHEDULES.values(),
        published="config/published/table5.csv",
    output:
        table=results("tables/table5.csv"),
        others=multiext(results("tables/table5"), ".md", ".tex"),
    log:
        results("logs/table5.log"),
    benchmark:
        results("logs/table5.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("table5"),
        rows=scheduled(SCHEDULES),
        only="",
        note=lambda _: option("note", [note_of("table5")]),
        code=lambda _: code_of("table5"),
    message:
        "Table 5: schedulers and samplers"
    shell:
        "wfdm table5 --settings {params.settings:q} {params.rows} {params.only} "
        "--published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


use rule table5 as table16to19 with:
    input:
        rows=SCHEDULES.values(),
        published="config/published/table{number}.csv",
    output:
        table=results("tables/table{number}.csv"),
        others=multiext(results("tables/table{number}"), ".md", ".tex"),
    log:
        results("logs/table{number}.log"),
    benchmark:
        results("logs/table{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(SCHEDULED),
    params:
        settings=lambda _: settings_of("table5"),
        rows=scheduled(SCHEDULES),
        only=lambda wildcards: f"--modality {SCHEDULED[wildcards.number]}",
        modality=lambda wildcards: SCHEDULED[wildcards.number],
        note=lambda _: option("note", [note_of("table5")]),
        code=lambda _: code_of("table5"),
    message:
        "Table {wildcards.number}: schedulers and samplers, {params.modality}"


rule draws:
    input:
        rows=[SYNTHESES[name] for names in DRAWS.values() for name in names],
    output:
        table=results("tables/draws.csv"),
        others=multiext(results("tables/draws"), ".md", ".tex"),
    log:
        results("logs/draws.log"),
    benchmark:
        results("logs/draws.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=drawn_again(),
        code=lambda _: code_of("draws"),
    message:
        "Models whose samples were drawn several times"
    shell:
        "wfdm draws {params.rows} --out {output.table:q} 2>&1 | tee {log:q}"


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
