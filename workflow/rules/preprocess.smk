# One job per session; a cluster runs many of them in one submission (group "sessions").


localrules:
    quality,
    volumes,


rule preprocess:
    input:
        raw=lambda wildcards: raw_scans(session_rows(wildcards)),
        atlas=asset(study.preprocess.atlas),
        head=asset(study.preprocess.atlas_head),
        weights=[asset(name) for name in study.preprocess.weights],
    output:
        record=results(
            "preprocessed/{dataset}/{place}/{session}_desc-preproc.prov.json"
        ),
    log:
        results("logs/preprocess/{dataset}/{place}/{session}.log"),
    benchmark:
        results("logs/preprocess/{dataset}/{place}/{session}.benchmark.tsv")
    group:
        "sessions"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        settings=settings(
            stages.PreprocessStage(seed=study.seed, preprocess=study.preprocess)
        ),
        scans=lambda wildcards: option("scan", scan_paths(session_rows(wildcards))),
        state=lambda wildcards: session_state(session_rows(wildcards)),
        weights=lambda _, input: option("weights", input.weights),
        code=fingerprint("preprocess"),
    message:
        "Preprocess {wildcards.dataset} {wildcards.session}"
    shell:
        "wfdm preprocess --settings {params.settings:q} --dataset {wildcards.dataset} "
        "--session {wildcards.session} {params.scans} --state {params.state} "
        "--atlas {input.atlas:q} --atlas-head {input.head:q} {params.weights} "
        "--threads {threads} --tolerate --record {output.record:q} 2>&1 | tee {log:q}"


rule quality:
    input:
        scans=results("data/scans.tsv"),
        exclusions=exclusion_file,
        records=session_records,
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
        settings=settings(stages.QualityStage(quality=study.quality)),
        root=lambda _, output: Path(output.page).parent,
        logs=results("logs/preprocess"),
        study=study.study,
        code=fingerprint("quality"),
    message:
        "Show the quality of the preprocessing"
    shell:
        "wfdm quality --settings {params.settings:q} --scans {input.scans:q} "
        "--root {params.root:q} --logs {params.logs:q} --study {params.study:q} "
        "--out {output.page:q} 2>&1 | tee {log:q}"


rule volumes:
    input:
        scans=results("data/scans.tsv"),
        exclusions=exclusion_file,
        records=session_records,
        page=results("preprocessed/quality.html"),
        table=results("preprocessed/quality.tsv"),
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
        settings=settings(stages.QualityStage(quality=study.quality)),
        root=lambda _, output: Path(output.volumes).parent,
        code=fingerprint("volumes"),
    message:
        "Gather the preprocessed volumes"
    shell:
        "wfdm volumes --settings {params.settings:q} --scans {input.scans:q} "
        "--root {params.root:q} --page {input.page:q} --out {output.volumes:q} 2>&1 | tee {log:q}"
