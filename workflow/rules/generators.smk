# Stage B: the diffusion model and its samples, one for every test scan.


localrules:
    samples,


rule train_diffusion:
    input:
        latents=of_compressor("latents/{compressor}/scale.json"),
        index=of_compressor("latents/{compressor}/index.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        statistics=results("data/metadata_statistics.json"),
        schema="config/metadata.yaml",
    output:
        model=results("generators/{generator}/model.safetensors"),
        config=results("generators/{generator}/config.json"),
        history=results("generators/{generator}/history.csv"),
    log:
        results("logs/train_diffusion/{generator}.log"),
    benchmark:
        results("logs/train_diffusion/{generator}.benchmark.tsv")
    threads: lambda wildcards: study.generators[wildcards.generator].training.threads
    resources:
        mem_mb=64000,
        runtime=7200,
        gpu=1,
    params:
        settings=lambda wildcards: settings(
            stages.train_diffusion(study, wildcards.generator)
        ),
        code=fingerprint("train-diffusion"),
    message:
        "Train generator {wildcards.generator}"
    shell:
        "wfdm train-diffusion --settings {params.settings:q} --latents {input.latents:q} "
        "--scans {input.scans:q} --splits {input.splits:q} "
        "--statistics {input.statistics:q} --threads {threads} "
        "--out {output.model:q} 2>&1 | tee {log:q}"


rule sample:
    input:
        generator=trained_generator,
        compressor=of_compressor("compressors/{compressor}/model.safetensors"),
        latents=of_compressor("latents/{compressor}/scale.json"),
        volumes=results("preprocessed/volumes.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        samples=results("samples/{generator}/shard-{shard}.tsv"),
    log:
        results("logs/sample/{generator}/{shard}.log"),
    benchmark:
        results("logs/sample/{generator}/{shard}.benchmark.tsv")
    threads: 4
    resources:
        mem_mb=32000,
        runtime=240,
        gpu=1,
    params:
        settings=lambda wildcards: settings(stages.sample(study, wildcards.generator)),
        generator=lambda _, input: option("generator", input.generator),
        shards=study.shards,
        code=lambda wildcards: code_of("sample", compressor_of(wildcards.generator)),
    message:
        "Sample shard {wildcards.shard} from {wildcards.generator}"
    shell:
        "wfdm sample-test --settings {params.settings:q} {params.generator} "
        "--latents {input.latents:q} --scans {input.scans:q} --splits {input.splits:q} "
        "--volumes {input.volumes:q} --shard {wildcards.shard} --shards {params.shards} "
        "--threads {threads} --out {output.samples:q} 2>&1 | tee {log:q}"


rule samples:
    input:
        shards=lambda wildcards: expand(
            results("samples/{generator}/shard-{shard}.tsv"),
            generator=wildcards.generator,
            shard=shards(),
        ),
    output:
        samples=results("samples/{generator}/samples.tsv"),
    log:
        results("logs/samples/{generator}.log"),
    benchmark:
        results("logs/samples/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        shards=study.shards,
        code=fingerprint("sample"),
    message:
        "List the samples of {wildcards.generator}"
    shell:
        "wfdm samples --shards {params.shards} --out {output.samples:q} 2>&1 | tee {log:q}"
