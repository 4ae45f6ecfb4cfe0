# Stage A: compressors and the cache of their latents.


localrules:
    latents,


rule train_compressor:
    input:
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        perceptual=perceptual_weights,
        pretrained=pretrained_weights,
    output:
        model=results("compressors/{compressor}/model.safetensors"),
        config=results("compressors/{compressor}/config.json"),
        history=results("compressors/{compressor}/history.csv"),
    log:
        results("logs/train_compressor/{compressor}.log"),
    benchmark:
        results("logs/train_compressor/{compressor}.benchmark.tsv")
    priority: 3  # all of the study waits for it
    threads: lambda wildcards: training_of(wildcards).threads if training_of(wildcards) else 1
    resources:
        mem_mb=more(64000),
        runtime=lambda wildcards: 8640 if training_of(wildcards) else 30,
        gpu=lambda wildcards: 1 if training_of(wildcards) else 0,
        cache_mb=study.cache_mb,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of(
            "train_compressor", compressor=wildcards.compressor
        ),
        weights=lambda _, input: " ".join(
            [
                option("perceptual", input.perceptual),
                option("pretrained", input.pretrained),
            ]
        ),
        cache=results("cache"),
        code=lambda wildcards: code_of(
            "train_compressor",
            *study.compressors[wildcards.compressor].implementations,
        ),
    message:
        "Train compressor {wildcards.compressor}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm train-compressor --settings {params.settings:q} "
        "--volumes {input.volumes:q} "
        "--splits {input.splits:q} {params.weights} --threads {threads} "
        "--workers $(( {threads} > 2 ? {threads} - 2 : 0 )) --cache {params.cache:q} "
        "--cache-mb {resources.cache_mb} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule encode:
    input:
        model=results("compressors/{compressor}/model.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
    output:
        latents=shard_file("latents/{compressor}", ".npy"),
        rows=shard_file("latents/{compressor}", ".tsv"),
    log:
        results("logs/encode/{compressor}/{shard}.log"),
    benchmark:
        results("logs/encode/{compressor}/{shard}.benchmark.tsv")
    priority: 2  # the denoisers wait for it
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(240),
        gpu=1,
    params:
        settings=settings_of("encode"),
        shards=study.shards,
        code=lambda wildcards: code_of("encode", architecture(wildcards.compressor)),
    message:
        "Encode shard {wildcards.shard} with {wildcards.compressor}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm encode --settings {params.settings:q} "
        "--compressor {input.model:q} "
        "--volumes {input.volumes:q} --shard {wildcards.shard} --shards {params.shards} "
        "--threads {threads} --out {output.latents:q} 2>&1 | tee {log:q}"


rule latents:
    input:
        shards=every_shard("latents/{compressor}", ".npy"),
        rows=every_shard("latents/{compressor}", ".tsv"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        model=results("compressors/{compressor}/model.safetensors"),
    output:
        index=results("latents/{compressor}/index.tsv"),
        scale=results("latents/{compressor}/scale.json"),
        moments=results("latents/{compressor}/moments.safetensors"),
    log:
        results("logs/latents/{compressor}.log"),
    benchmark:
        results("logs/latents/{compressor}.benchmark.tsv")
    priority: 2
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=settings_of("latents"),
        shards=study.shards,
        code=code_of("latents"),
    message:
        "Index the latents of {wildcards.compressor}; scale factor from the training split"
    shell:
        "wfdm latents --settings {params.settings:q} --compressor {input.model:q} "
        "--shards {params.shards} --volumes {input.volumes:q} --splits {input.splits:q} "
        "--out {output.index:q} 2>&1 | tee {log:q}"
