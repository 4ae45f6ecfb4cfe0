# The paper's tables, this study's value beside the published one.


localrules:
    table1,
    table3,
    table4,
    table8to11,
    metrics,


rule table1:
    input:
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        published="config/published/table1.csv",
    output:
        table=report(
            results("tables/table1.csv"),
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "1", "content": "Scans per split"},
        ),
    log:
        results("logs/table1.log"),
    benchmark:
        results("logs/table1.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rule=study.split.rule,
        note=differences(study),
        code=fingerprint("tables"),
    message:
        "Table 1: scans per split"
    shell:
        "wfdm tables table1 --scans {input.scans:q} --splits {input.splits:q} "
        "--published {input.published:q} --rule {params.rule} --note {params.note:q} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table3:
    input:
        rows=expand(
            results("evaluation/reconstruction/{compressor}.csv"),
            compressor=COMPRESSORS,
        ),
        floor=results("evaluation/reconstruction/mean_volume.csv"),
        published="config/published/table3.csv",
    output:
        table=report(
            results("tables/table3.csv"),
            caption="../report/table3.rst",
            category="Tables",
            labels={"table": "3", "content": "Reconstruction"},
        ),
    log:
        results("logs/table3.log"),
    benchmark:
        results("logs/table3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=option(
            "row",
            [
                f"{compressor.label}={results(f'evaluation/reconstruction/{name}.csv')}"
                for name, compressor in COMPRESSORS.items()
            ],
        ),
        note=differences(study),
        code=fingerprint("tables"),
    message:
        "Table 3: reconstruction by compressor"
    shell:
        "wfdm tables table3 {params.rows} --floor {input.floor:q} "
        "--published {input.published:q} --note {params.note:q} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table8to11:
    input:
        rows=rules.table3.input.rows,
        floor=rules.table3.input.floor,
        published="config/published/table{number}.csv",
    output:
        table=report(
            results("tables/table{number}.csv"),
            caption="../report/table8to11.rst",
            category="Tables",
            labels={"table": "{number}", "content": "Reconstruction by modality"},
        ),
    log:
        results("logs/table{number}.log"),
    benchmark:
        results("logs/table{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(map(str, BY_MODALITY.values())),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rules.table3.params.rows,
        modality=lambda wildcards: {
            str(number): modality for modality, number in BY_MODALITY.items()
        }[wildcards.number],
        note=differences(study),
        code=fingerprint("tables"),
    message:
        "Table {wildcards.number}: reconstruction of {params.modality} by compressor"
    shell:
        "wfdm tables table3 {params.rows} --floor {input.floor:q} --modality {params.modality} "
        "--published {input.published:q} --note {params.note:q} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table4:
    input:
        rows=expand(
            results("evaluation/synthesis/{generator}.csv"), generator=study.generators
        ),
        published="config/published/table4.csv",
    output:
        table=report(
            results("tables/table4.csv"),
            caption="../report/table4.rst",
            category="Tables",
            labels={"table": "4", "content": "Synthesis"},
        ),
    log:
        results("logs/table4.log"),
    benchmark:
        results("logs/table4.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=option(
            "row",
            [
                f"{generator.label}={results(f'evaluation/synthesis/{name}.csv')}"
                for name, generator in study.generators.items()
            ],
        ),
        note=differences(study),
        code=fingerprint("tables"),
    message:
        "Table 4: realism and diversity by generator"
    shell:
        "wfdm tables table4 {params.rows} --published {input.published:q} --note {params.note:q} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule metrics:
    input:
        table3=results("tables/table3.csv"),
        table4=results("tables/table4.csv"),
    output:
        metrics=results("tables/metrics.json"),
    log:
        results("logs/metrics.log"),
    benchmark:
        results("logs/metrics.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=fingerprint("tables"),
    message:
        "Numbers of tables 3 and 4, for `dvc metrics`"
    shell:
        "wfdm tables metrics --row table3={input.table3:q} --row table4={input.table4:q} "
        "--out {output.metrics:q} 2>&1 | tee {log:q}"
