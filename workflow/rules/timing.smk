# Tables 6 and 7: how long generators take. A time does not depend on what a model learned, so the
# study's own denoisers are timed with random weights of their sizes, before any training has ended.

TIMES = {
    name: results(f"evaluation/timing/{name}.json") for name in rows_of.table6(study)
}
SCHEDULED_TIMES = {
    key: results(f"evaluation/timing/{name}.json")
    for key, name in rows_of.table7(study).items()
}


localrules:
    table6,
    table7,


rule timing:
    input:
        weights=timed_weights,
    output:
        times=results("evaluation/timing/{generator}.json"),
    log:
        results("logs/timing/{generator}.log"),
    benchmark:
        results("logs/timing/{generator}.benchmark.tsv")
    threads: 8  # the paper's node; on a smaller machine all there are, so that it is alone there
    resources:
        mem_mb=more(64000),
        runtime=more(240),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of("benchmark", **parts_of(wildcards)),
        source=lambda _, input: option("source", input.weights[:1]),
        code=lambda wildcards: code_of_made("benchmark", wildcards),
    message:
        "Time {wildcards.generator}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm benchmark --settings {params.settings:q} "
        "{params.source} --threads {threads} "
        "--out {output.times:q} 2>&1 | tee {log:q}"


rule table6:
    input:
        rows=TIMES.values(),
        published="config/published/table6.csv",
    output:
        table=results("tables/table6.csv"),
        others=multiext(results("tables/table6"), ".md", ".tex"),
    log:
        results("logs/table6.log"),
    benchmark:
        results("logs/table6.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("generators", TIMES),
        note=lambda _: option("note", [note_of("table6")]),
        code=lambda _: code_of("table6"),
    message:
        "Table 6: time and memory by generator"
    shell:
        "wfdm table6 {params.rows} --published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule table7:
    input:
        rows=SCHEDULED_TIMES.values(),
        published="config/published/table7.csv",
    output:
        table=results("tables/table7.csv"),
        others=multiext(results("tables/table7"), ".md", ".tex"),
    log:
        results("logs/table7.log"),
    benchmark:
        results("logs/table7.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("table7"),
        rows=option("row", [f"{key}={path}" for key, path in SCHEDULED_TIMES.items()]),
        note=lambda _: option("note", [note_of("table7")]),
        code=lambda _: code_of("table7"),
    message:
        "Table 7: time and memory by scheduler and sampler"
    shell:
        "wfdm table7 --settings {params.settings:q} {params.rows} "
        "--published {input.published:q} {params.note} "
        "--out {output.table:q} 2>&1 | tee {log:q}"
