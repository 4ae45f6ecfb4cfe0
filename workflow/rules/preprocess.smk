# One job per session. A cluster runs the sessions of a batch in one job: the SLURM profile puts
# both rules into a group, and `batch` joins its sessions to one connected piece of the plan.


localrules:
    preprocess_assets,
    quality,
    volumes,


# One file that stands for all assets: 30,000 sessions with one edge each are planned sooner.
rule preprocess_assets:
    input:
        files=preprocess_assets_needed,
    output:
        digests=results("preprocessed/assets.tsv"),
    log:
        results("logs/preprocess_assets.log"),
    benchmark:
        results("logs/preprocess_assets.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        files=lambda _, input: option("file", input.files),
        code=fingerprint("digests"),
    message:
        "Note the assets of preprocessing"
    shell:
        "wfdm digests {params.files} --out {output.digests:q} 2>&1 | tee {log:q}"


rule preprocess:
    input:
        raw=lambda wildcards: raw_scans(session_rows(wildcards)),
        assets=results("preprocessed/assets.tsv"),
    output:
        record=results(
            "preprocessed/{dataset}/{place}/{session}_desc-preproc.prov.json"
        ),
    log:
        results("logs/preprocess/{dataset}/{place}/{session}.log"),
    benchmark:
        results("logs/preprocess/{dataset}/{place}/{session}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=lambda wildcards, threads: 3500 + 2500 * threads,
        runtime=60,
    params:
        settings=settings(
            stages.PreprocessStage(seed=study.seed, preprocess=study.preprocess)
        ),
        options=session_options,
        atlas=asset(study.preprocess.atlas),
        head=asset(study.preprocess.atlas_head),
        code=fingerprint("preprocess"),
    message:
        "Preprocess {wildcards.dataset} {wildcards.session}"
    # HD-BET's activations are large and short-lived: glibc keeps their pages, a quarter quicker.
    shell:
        "MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 "
        "wfdm preprocess --settings {params.settings:q} --dataset {wildcards.dataset} "
        "--session {wildcards.session} {params.options} --atlas {params.atlas:q} "
        "--atlas-head {params.head:q} --threads {threads} --tolerate "
        "--record {output.record:q} 2>&1 | tee {log:q}"


rule batch:
    input:
        records=lambda wildcards: batches()[int(wildcards.batch)],
    output:
        records=results("preprocessed/batches/{batch}.tsv"),
    log:
        results("logs/batch/{batch}.log"),
    benchmark:
        results("logs/batch/{batch}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        records=lambda _, input: option("file", input.records),
        code=fingerprint("digests"),
    message:
        "Note what was preprocessed in batch {wildcards.batch}"
    shell:
        "wfdm digests {params.records} --out {output.records:q} 2>&1 | tee {log:q}"


rule quality:
    input:
        scans=results("data/scans.tsv"),
        exclusions=exclusion_file,
        batches=batch_tables,
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
        batches=batch_tables,
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
