# The phantom cohort, if the study has one: a job per shard of its sessions.


PHANTOM_ASSETS = sorted(
    {name for source in PHANTOMS for name in (source.template, source.brain)}
)


rule phantom:
    input:
        scans=results("data/scans.tsv"),
        templates=assets(PHANTOM_ASSETS),
    output:
        table=shard_file("raw", ".tsv"),
    log:
        results("logs/phantom/{shard}.log"),
    benchmark:
        results("logs/phantom/{shard}.benchmark.tsv")
    threads: 8
    resources:
        mem_mb=lambda _, threads, attempt: attempt * (1000 + 1500 * threads),
        runtime=240,  # a session takes 10 s
    params:
        settings=settings_of("phantom"),
        assets=option("asset", [f"{name}={asset(name)}" for name in PHANTOM_ASSETS]),
        root=lambda _, output: str(Path(output.table).parent),
        logs=results("logs/phantom"),
        shards=study.shards,
        code=code_of("phantom"),
    message:
        "Make the phantoms of shard {wildcards.shard}"
    shell:
        "wfdm phantom --settings {params.settings:q} --scans {input.scans:q} {params.assets} "
        "--shard {wildcards.shard} --shards {params.shards} --processes {threads} "
        "--root {params.root:q} --logs {params.logs:q} --out {output.table:q} 2>&1 | tee {log:q}"


rule phantom_lesions:
    input:
        scans=results("data/scans.tsv"),
        volumes=results("preprocessed/volumes.tsv"),
        templates=assets(PHANTOM_ASSETS),
    output:
        table=results("phantom/lesions/masks.tsv"),
    log:
        results("logs/phantom_lesions.log"),
    benchmark:
        results("logs/phantom_lesions.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=240,  # a session takes 2 s
    params:
        settings=settings_of("phantom_lesions"),
        assets=option("asset", [f"{name}={asset(name)}" for name in PHANTOM_ASSETS]),
        code=code_of("phantom_lesions"),
    message:
        "Bring the phantoms' lesions to the study's grid"
    shell:
        "wfdm phantom-lesions --settings {params.settings:q} --scans {input.scans:q} "
        "--volumes {input.volumes:q} {params.assets} --out {output.table:q} 2>&1 | tee {log:q}"
