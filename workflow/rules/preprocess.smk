# Preprocessing: a job per shard works on several sessions at a time. Then the quality page, and the
# table of the volumes that may be used.


localrules:
    quality,
    volumes,


# A shard of the study holds 460 sessions. A raw one takes 15 s of a core, and the whole ensemble of
# HD-BET 5 min: see docs/preprocessing.md.
rule preprocess:
    input:
        scans=results("data/scans.tsv"),
        phantoms=shard_file("raw", ".tsv") if PHANTOMS else [],
        atlas=asset(study.preprocess.atlas),
        head=asset(study.preprocess.atlas_head),
        weights=extraction_weights,
    output:
        table=shard_file("preprocessed", ".tsv"),
    log:
        results("logs/preprocess/{shard}.log"),
    benchmark:
        results("logs/preprocess/{shard}.benchmark.tsv")
    threads: 8
    resources:
        mem_mb=lambda _, threads, attempt: attempt * (1000 + 4500 * threads),
        runtime=2880,
        gpu=0,  # HD-BET can use one: --set-resources preprocess:gpu=1
    params:
        settings=settings_of("preprocess"),
        weights=lambda _, input: option("weights", input.weights),
        exclusions=study.quality.exclusions,
        root=lambda _, output: str(Path(output.table).parent),
        logs=results("logs/preprocess"),
        shards=study.shards,
        raw=lambda wildcards: raw_stamps().get(int(wildcards.shard), ""),
        code=code_of("preprocess"),
    message:
        "Preprocess the sessions of shard {wildcards.shard}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm preprocess --settings {params.settings:q} "
        "--scans {input.scans:q} "
        "--exclusions {params.exclusions:q} --shard {wildcards.shard} --shards {params.shards} "
        "--processes {threads} --atlas {input.atlas:q} --atlas-head {input.head:q} "
        "{params.weights} --root {params.root:q} --logs {params.logs:q} --out {output.table:q} "
        "2>&1 | tee {log:q}"


rule quality:
    input:
        scans=results("data/scans.tsv"),
        exclusions=exclusion_file,
        sessions=every_shard("preprocessed", ".tsv"),
    output:
        page=results("preprocessed/quality.html"),
        table=results("preprocessed/quality.tsv"),
    log:
        results("logs/quality.log"),
    benchmark:
        results("logs/quality.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_of("quality"),
        sessions=lambda _, input: option("sessions", input.sessions),
        logs=results("logs/preprocess"),
        code=code_of("quality"),
    message:
        "Show the quality of the preprocessing"
    shell:
        "wfdm quality --settings {params.settings:q} --scans {input.scans:q} {params.sessions} "
        "--logs {params.logs:q} --out {output.page:q} 2>&1 | tee {log:q}"


rule volumes:
    input:
        scans=results("data/scans.tsv"),
        exclusions=exclusion_file,
        sessions=every_shard("preprocessed", ".tsv"),
    output:
        volumes=results("preprocessed/volumes.tsv"),
    log:
        results("logs/volumes.log"),
    benchmark:
        results("logs/volumes.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_of("volumes"),
        sessions=lambda _, input: option("sessions", input.sessions),
        code=code_of("volumes"),
    message:
        "Gather the preprocessed volumes"
    shell:
        "wfdm volumes --settings {params.settings:q} --scans {input.scans:q} {params.sessions} "
        "--out {output.volumes:q} 2>&1 | tee {log:q}"
