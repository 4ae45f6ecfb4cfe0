# Assets, the scan table and its people, the phantom cohort, the split, reports on all of it.


localrules:
    asset,
    coverage,
    index,
    manifest,
    near_duplicates,
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
        aliases=study.people.aliases,
        folders=source_folders,
    output:
        scans=results("data/scans.tsv"),
        report=results("data/index_report.tsv"),
        people=results("data/people.tsv"),
    log:
        results("logs/index.log"),
    benchmark:
        results("logs/index.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=settings(stages.index(study)),
        raw=results("raw"),
        listing=[listing(source) for source in study.sources],
        code=fingerprint("index"),
    message:
        "List every scan of every source"
    shell:
        "wfdm index --settings {params.settings:q} --raw {params.raw:q} "
        "--aliases {input.aliases:q} --report {output.report:q} --people {output.people:q} "
        "--out {output.scans:q} 2>&1 | tee {log:q}"


rule coverage:
    input:
        scans=results("data/scans.tsv"),
        schema="config/metadata.yaml",
    output:
        table=report(
            results("data/coverage.tsv"),
            caption="../report/coverage.rst",
            category="Data",
            labels={"content": "Metadata coverage"},
        ),
    log:
        results("logs/coverage.log"),
    benchmark:
        results("logs/coverage.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=fingerprint("coverage"),
    message:
        "Count what each metadata field covers"
    shell:
        "wfdm coverage --scans {input.scans:q} --out {output.table:q} 2>&1 | tee {log:q}"


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
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wildcards: settings(
            stages.PhantomStage(seed=study.seed, source=PHANTOM_OF[wildcards.dataset])
        ),
        scans=lambda wildcards: option("scan", scan_paths(phantom_rows(wildcards))),
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
        frozen=[study.split.file] if study.split.file else [],
    output:
        splits=results("data/splits.tsv"),
        statistics=results("data/metadata_statistics.json"),
        leaks=report(
            results("data/leaks.tsv"),
            caption="../report/leaks.rst",
            category="Data",
            labels={"content": "People in two splits"},
        ),
    log:
        results("logs/split.log"),
    benchmark:
        results("logs/split.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=settings(stages.split(study)),
        code=fingerprint("split"),
    message:
        "Divide people into train, validation and test"
    shell:
        "wfdm split --settings {params.settings:q} --scans {input.scans:q} "
        "--out {output.splits:q} --statistics {output.statistics:q} "
        "--leaks {output.leaks:q} 2>&1 | tee {log:q}"


rule image_hash:
    input:
        volumes=results("preprocessed/volumes.tsv"),
    output:
        hashes=results("data/image_hashes/shard-{shard}.npy"),
        rows=results("data/image_hashes/shard-{shard}.tsv"),
    log:
        results("logs/image_hash/{shard}.log"),
    benchmark:
        results("logs/image_hash/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=settings(stages.ImageHashStage(volume=study.volume)),
        shards=study.shards,
        code=fingerprint("near-duplicates"),
    message:
        "Image hashes of shard {wildcards.shard}"
    shell:
        "wfdm image-hash --settings {params.settings:q} --volumes {input.volumes:q} "
        "--shard {wildcards.shard} --shards {params.shards} --out {output.hashes:q} "
        "2>&1 | tee {log:q}"


rule near_duplicates:
    input:
        scans=results("data/scans.tsv"),
        hashes=expand(results("data/image_hashes/shard-{shard}.npy"), shard=shards()),
        rows=expand(results("data/image_hashes/shard-{shard}.tsv"), shard=shards()),
    output:
        table=report(
            results("data/near_duplicates.tsv"),
            caption="../report/near_duplicates.rst",
            category="Data",
            labels={"content": "Near-duplicates for review"},
        ),
    log:
        results("logs/near_duplicates.log"),
    benchmark:
        results("logs/near_duplicates.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings(
            stages.NearDuplicatesStage(near_duplicate=study.people.near_duplicate)
        ),
        hashes=lambda _, input: option("hashes", input.hashes),
        code=fingerprint("near-duplicates"),
    message:
        "Pairs of scans of two people that look like one person's"
    shell:
        "wfdm near-duplicates --settings {params.settings:q} --scans {input.scans:q} "
        "{params.hashes} --out {output.table:q} 2>&1 | tee {log:q}"


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
