# One job per session. A cluster runs the sessions of a batch in one job: the SLURM profile puts
# both rules into a group, and `batch` joins its sessions to one connected piece of the plan.


localrules:
    preprocess_assets,
    volumes,


# One file that stands for all assets: 30,000 sessions with one edge each are planned sooner.
rule preprocess_assets:
    input:
        files=[asset(study.preprocess.atlas), asset(study.preprocess.atlas_head)],
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
        mem_mb=6000,
        runtime=30,
    params:
        settings=settings(
            stages.PreprocessStage(seed=study.seed, preprocess=study.preprocess)
        ),
        scans=lambda wildcards: option("scan", scan_paths(wildcards)),
        atlas=asset(study.preprocess.atlas),
        head=asset(study.preprocess.atlas_head),
        code=fingerprint("preprocess"),
    message:
        "Preprocess {wildcards.dataset} {wildcards.session}"
    shell:
        "wfdm preprocess --settings {params.settings:q} --dataset {wildcards.dataset} "
        "--session {wildcards.session} {params.scans} --atlas {params.atlas:q} "
        "--atlas-head {params.head:q} --record {output.record:q} 2>&1 | tee {log:q}"


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


rule volumes:
    input:
        scans=results("data/scans.tsv"),
        batches=lambda _: [
            results(f"preprocessed/batches/{number:05d}.tsv")
            for number in range(len(batches()))
        ],
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
        root=lambda _, output: Path(output.volumes).parent,
        code=fingerprint("volumes"),
    message:
        "Gather the preprocessed volumes"
    shell:
        "wfdm volumes --scans {input.scans:q} --root {params.root:q} "
        "--out {output.volumes:q} 2>&1 | tee {log:q}"
