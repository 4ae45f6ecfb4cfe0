# Stage B: denoisers; GANs; and the samples of every generator, one for every test scan.


localrules:
    samples,


rule train_denoiser:
    input:
        latents=latents_of("scale.json"),
        index=latents_of("index.tsv"),
        moments=latents_of("moments.safetensors"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        statistics=results("data/metadata_statistics.json"),
        schema="config/metadata.yaml",
    output:
        model=results("denoisers/{denoiser}/model.safetensors"),
        config=results("denoisers/{denoiser}/config.json"),
        standard=results("denoisers/{denoiser}/standard.safetensors"),
        history=results("denoisers/{denoiser}/history.csv"),
    log:
        results("logs/train_denoiser/{denoiser}.log"),
    benchmark:
        results("logs/train_denoiser/{denoiser}.benchmark.tsv")
    priority: 2  # samples wait for it
    threads: lambda wildcards: study.denoisers[wildcards.denoiser].training.threads
    resources:
        mem_mb=more(64000),
        runtime=7200,
        gpu=1,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of(
            "train_denoiser", denoiser=wildcards.denoiser
        ),
        code=lambda wildcards: code_denoised("train_denoiser", wildcards.denoiser),
    message:
        "Train denoiser {wildcards.denoiser}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm train-denoiser --settings {params.settings:q} "
        "--latents {input.latents:q} "
        "--scans {input.scans:q} --splits {input.splits:q} "
        "--statistics {input.statistics:q} --threads {threads} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule train_gan:
    input:
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        model=results("gans/{gan}/model.safetensors"),
        config=results("gans/{gan}/config.json"),
        history=results("gans/{gan}/history.csv"),
    log:
        results("logs/train_gan/{gan}.log"),
    benchmark:
        results("logs/train_gan/{gan}.benchmark.tsv")
    wildcard_constraints:
        gan="|".join(study.gans) or "none",
    priority: 2  # samples wait for it
    threads: lambda wildcards: study.gans[wildcards.gan].training.threads
    resources:
        mem_mb=more(64000),
        runtime=7200,
        gpu=1,
        cache_mb=study.cache_mb,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of("train_gan", gan=wildcards.gan),
        cache=results("cache"),
        code=lambda _: code_of("train_gan"),
    message:
        "Train GAN {wildcards.gan}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm train-gan --settings {params.settings:q} "
        "--volumes {input.volumes:q} --splits {input.splits:q} --threads {threads} "
        "--workers $(( {threads} > 2 ? {threads} - 2 : 0 )) --cache {params.cache:q} "
        "--cache-mb {resources.cache_mb} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule sample:
    input:
        source=source_of,
        models=models_of,
        volumes=results("preprocessed/volumes.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        samples=shard_file("samples/{generator}", ".tsv"),
    log:
        results("logs/sample/{generator}/{shard}.log"),
    benchmark:
        results("logs/sample/{generator}/{shard}.benchmark.tsv")
    priority: 1  # metrics wait for it
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(240),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "sample_test", generator=wildcards.generator
        ),
        training="",
        shards=study.shards,
        code=lambda wildcards: code_of_made("sample_test", wildcards),
    message:
        "Sample shard {wildcards.shard} from {wildcards.generator}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm sample-test --settings {params.settings:q} "
        "--source {input.source:q} "
        "--scans {input.scans:q} --splits {input.splits:q} --volumes {input.volumes:q} "
        "--shard {wildcards.shard} --shards {params.shards} {params.training} "
        "--threads {threads} --out {output.samples:q} 2>&1 | tee {log:q}"


rule samples:
    input:
        shards=every_shard("samples/{generator}", ".tsv"),
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
        code=code_of("samples"),
    message:
        "List the samples of {wildcards.generator}"
    shell:
        "wfdm samples --shards {params.shards} --out {output.samples:q} 2>&1 | tee {log:q}"
