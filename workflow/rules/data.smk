# Assets, the scan table and its people, the split, reports on all of it.


ASSET_NAMES = {entry.file: name for name, entry in load_registry().items()}


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
        code=code_of("asset"),
    message:
        "Retrieve {wildcards.file} and verify its checksum"
    shell:
        "wfdm asset {params.name:q} --out {output:q} 2>&1 | tee {log:q}"


rule index:
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
        settings=settings_of("index"),
        raw=results("raw"),
        listing=lambda _: plan.listings(study),
        code=code_of("index"),
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
        table=results("data/coverage.tsv"),
    log:
        results("logs/coverage.log"),
    benchmark:
        results("logs/coverage.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_of("coverage"),
    message:
        "Count what each metadata field covers"
    shell:
        "wfdm coverage --scans {input.scans:q} --out {output.table:q} 2>&1 | tee {log:q}"


rule split:
    input:
        scans=results("data/scans.tsv"),
        schema="config/metadata.yaml",
        frozen=[study.split.file] if study.split.file else [],
    output:
        splits=results("data/splits.tsv"),
        statistics=results("data/metadata_statistics.json"),
        leaks=results("data/leaks.tsv"),
    log:
        results("logs/split.log"),
    benchmark:
        results("logs/split.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=settings_of("split"),
        code=code_of("split"),
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
        hashes=shard_file("data/image_hashes", ".npy"),
        rows=shard_file("data/image_hashes", ".tsv"),
    log:
        results("logs/image_hash/{shard}.log"),
    benchmark:
        results("logs/image_hash/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(120),
    params:
        settings=settings_of("image_hash"),
        shards=study.shards,
        code=code_of("image_hash"),
    message:
        "Image hashes of shard {wildcards.shard}"
    shell:
        "wfdm image-hash --settings {params.settings:q} --volumes {input.volumes:q} "
        "--shard {wildcards.shard} --shards {params.shards} --out {output.hashes:q} "
        "2>&1 | tee {log:q}"


rule near_duplicates:
    input:
        scans=results("data/scans.tsv"),
        hashes=every_shard("data/image_hashes", ".npy"),
        rows=every_shard("data/image_hashes", ".tsv"),
    output:
        table=results("data/near_duplicates.tsv"),
    log:
        results("logs/near_duplicates.log"),
    benchmark:
        results("logs/near_duplicates.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_of("near_duplicates"),
        hashes=lambda _, input: option("hashes", input.hashes),
        code=code_of("near_duplicates"),
    message:
        "Pairs of scans of two people that look like one person's"
    shell:
        "wfdm near-duplicates --settings {params.settings:q} --scans {input.scans:q} "
        "{params.hashes} --out {output.table:q} 2>&1 | tee {log:q}"


rule manifest:
    input:
        scans=results("data/scans.tsv"),
        phantoms=every_shard("raw", ".tsv") if PHANTOMS else [],
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
        stamps=lambda _: raw_stamps(),
        code=code_of("manifest"),
    message:
        "Take the sha256 of every raw scan"
    shell:
        "wfdm manifest --scans {input.scans:q} --out {output.manifest:q} 2>&1 | tee {log:q}"
