# One job per session; a cluster runs many of them in one submission (group "sessions").


localrules:
    volumes,


rule preprocess:
    input:
        raw=lambda wildcards: raw_scans(session_rows(wildcards)),
        atlas=asset(study.preprocess.atlas),
        head=asset(study.preprocess.atlas_head),
    output:
        record=results(
            "preprocessed/{dataset}/{place}/{session}_desc-preproc.prov.json"
        ),
        mask=results(
            "preprocessed/{dataset}/{place}/{session}_space-SRI24_desc-brain_mask.nii.gz"
        ),
        picture=results("preprocessed/{dataset}/{place}/{session}_desc-preproc_qc.png"),
    log:
        results("logs/preprocess/{dataset}/{place}/{session}.log"),
    benchmark:
        results("logs/preprocess/{dataset}/{place}/{session}.benchmark.tsv")
    group:
        "sessions"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=30,
    params:
        settings=settings(
            stages.PreprocessStage(seed=study.seed, preprocess=study.preprocess)
        ),
        scans=lambda wildcards: option("scan", scan_paths(wildcards)),
        code=fingerprint("preprocess"),
    message:
        "Preprocess {wildcards.dataset} {wildcards.session}"
    shell:
        "wfdm preprocess --settings {params.settings:q} --dataset {wildcards.dataset} "
        "--session {wildcards.session} {params.scans} --atlas {input.atlas:q} "
        "--atlas-head {input.head:q} --record {output.record:q} 2>&1 | tee {log:q}"


rule volumes:
    input:
        scans=results("data/scans.tsv"),
        records=lambda _: [
            session_record(results("preprocessed"), rows[0], "preproc")
            for rows in all_sessions().values()
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
