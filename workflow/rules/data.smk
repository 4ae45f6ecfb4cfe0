# Assets, the scan table, the phantom cohort, the split.


localrules:
    asset,
    index,
    manifest,
    split,


rule asset:
    output:
        f"{study.assets}/{{file}}",
    log:
        f"{study.assets}/logs/{{file}}.log",
    benchmark:
        f"{study.assets}/logs/{{file}}.benchmark.tsv"
    wildcard_constraints:
        file="|".join(re.escape(file) for file in ASSET_NAMES),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        name=lambda wildcards: ASSET_NAMES[wildcards.file],
        checksum=lambda wildcards: find(ASSET_NAMES[wildcards.file]).checksum,
        code=fingerprint("asset"),
    message:
        "Retrieve {wildcards.file} and verify its checksum"
    shell:
        "wfdm asset {params.name:q} --out {output:q} 2>&1 | tee {log:q}"


checkpoint index:
    input:
        schema="config/metadata.yaml",
        folders=source_folders,
    output:
        scans=results("data/scans.tsv"),
    log:
        results("logs/index.log"),
    benchmark:
        results("logs/index.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=settings(stages.IndexStage(seed=study.seed, sources=study.sources)),
        raw=results("raw"),
        listing=[listing(source) for source in study.sources],
        code=fingerprint("index"),
    message:
        "List every scan of every source"
    shell:
        "wfdm index --settings {params.settings:q} --raw {params.raw:q} "
        "--out {output.scans:q} 2>&1 | tee {log:q}"


rule phantom:
    input:
        head=lambda wildcards: asset(PHANTOM_OF[wildcards.dataset].template),
        brain=lambda wildcards: asset(PHANTOM_OF[wildcards.dataset].brain),
    output:
        record=results("raw/{dataset}/{place}/{session}_desc-raw.prov.json"),
    log:
        results("logs/phantom/{dataset}/{place}/{session}.log"),
    benchmark:
        results("logs/phantom/{dataset}/{place}/{session}.benchmark.tsv")
    group:
        "sessions"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wildcards: settings(
            stages.PhantomStage(seed=study.seed, source=PHANTOM_OF[wildcards.dataset])
        ),
        scans=lambda wildcards: option("scan", scan_paths(wildcards)),
        code=fingerprint("phantom"),
    message:
        "Make the phantom head of {wildcards.dataset} {wildcards.session}"
    shell:
        "wfdm phantom --settings {params.settings:q} --dataset {wildcards.dataset} "
        "--session {wildcards.session} --head {input.head:q} --brain {input.brain:q} "
        "{params.scans} --record {output.record:q} 2>&1 | tee {log:q}"


rule split:
    input:
        scans=results("data/scans.tsv"),
        schema="config/metadata.yaml",
    output:
        splits=results("data/splits.tsv"),
        statistics=results("data/metadata_statistics.json"),
    log:
        results("logs/split.log"),
    benchmark:
        results("logs/split.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=settings(stages.SplitStage(seed=study.seed, split=study.split)),
        code=fingerprint("split"),
    message:
        "Divide people into train, validation and test"
    shell:
        "wfdm split --settings {params.settings:q} --scans {input.scans:q} "
        "--out {output.splits:q} --statistics {output.statistics:q} 2>&1 | tee {log:q}"


rule manifest:
    input:
        scans=results("data/scans.tsv"),
        raw=lambda _: [
            raw for rows in all_sessions().values() for raw in raw_scans(rows)
        ],
    output:
        manifest=results("data/manifest.tsv"),
    log:
        results("logs/manifest.log"),
    benchmark:
        results("logs/manifest.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        code=fingerprint("manifest"),
    message:
        "Take the sha256 of every raw scan"
    shell:
        "wfdm manifest --scans {input.scans:q} --out {output.manifest:q} 2>&1 | tee {log:q}"
