# Metrics: reconstruction per scan, features per scan, MS-SSIM per pair of samples, and what follows
# from them per modality.


localrules:
    join,


wildcard_constraints:
    cohort="|".join(["real", *study.generators]),
    rows="|".join(["mean_volume", *study.compressors]),


rule mean_volumes:
    input:
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        means=results("evaluation/mean_volumes.safetensors"),
    log:
        results("logs/mean_volumes.log"),
    benchmark:
        results("logs/mean_volumes.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(1440),
    params:
        settings=settings_of("mean_volumes"),
        code=code_of("mean_volumes"),
    message:
        "Mean volumes of the training split: what every model must beat"
    shell:
        "wfdm mean-volumes --settings {params.settings:q} --volumes {input.volumes:q} "
        "--splits {input.splits:q} --out {output.means:q} 2>&1 | tee {log:q}"


rule floors:
    input:
        means=results("evaluation/mean_volumes.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        lpips=assets(study.evaluation.lpips.assets) if study.evaluation.lpips else [],
    output:
        rows=shard_file("evaluation/reconstruction/mean_volume", ".csv"),
    log:
        results("logs/floors/{shard}.log"),
    benchmark:
        results("logs/floors/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(16000),
        runtime=more(240),
        gpu=1,
    params:
        settings=settings_of("floors"),
        lpips=lambda _, input: option("lpips", input.lpips),
        shards=study.shards,
        code=code_of("floors"),
    message:
        "Score the mean volumes on shard {wildcards.shard} of the test split"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm floors --settings {params.settings:q} "
        "--means {input.means:q} "
        "--volumes {input.volumes:q} --splits {input.splits:q} {params.lpips} "
        "--shard {wildcards.shard} --shards {params.shards} --threads {threads} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


rule reconstruction:
    input:
        model=results("compressors/{compressor}/model.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        lpips=rules.floors.input.lpips,
    output:
        rows=shard_file("evaluation/reconstruction/{compressor}", ".csv"),
    log:
        results("logs/reconstruction/{compressor}/{shard}.log"),
    benchmark:
        results("logs/reconstruction/{compressor}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(240),
        gpu=1,
    params:
        settings=settings_of("reconstruction"),
        lpips=lambda _, input: option("lpips", input.lpips),
        shards=study.shards,
        code=lambda wildcards: code_of(
            "reconstruction", architecture(wildcards.compressor)
        ),
    message:
        "Reconstruct shard {wildcards.shard} of the test split with {wildcards.compressor}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm reconstruction --settings {params.settings:q} "
        "--compressor {input.model:q} "
        "--volumes {input.volumes:q} --splits {input.splits:q} {params.lpips} "
        "--shard {wildcards.shard} --shards {params.shards} --threads {threads} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


rule join:
    input:
        parts=every_shard("evaluation/reconstruction/{rows}", ".csv"),
    output:
        rows=results("evaluation/reconstruction/{rows}.csv"),
    log:
        results("logs/join/{rows}.log"),
    benchmark:
        results("logs/join/{rows}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        parts=lambda _, input: option("part", input.parts),
        code=code_of("join"),
    message:
        "Join the reconstruction metrics of {wildcards.rows}"
    shell:
        "wfdm join {params.parts} --out {output.rows:q} 2>&1 | tee {log:q}"


rule features:
    input:
        volumes=lambda wildcards: results(
            "preprocessed/volumes.tsv"
            if wildcards.cohort == "real"
            else f"samples/{wildcards.cohort}/samples.tsv"
        ),
        splits=lambda wildcards: [results("data/splits.tsv")][
            : wildcards.cohort == "real"
        ],
        means=results("evaluation/mean_volumes.safetensors"),
        weights=assets(study.evaluation.features.assets),
    output:
        features=shard_file("evaluation/features/{cohort}", ".safetensors"),
    log:
        results("logs/features/{cohort}/{shard}.log"),
    benchmark:
        results("logs/features/{cohort}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(240),
        gpu=1,
    params:
        settings=settings_of("features"),
        splits=lambda _, input: option("splits", input.splits),
        weights=lambda _, input: option("weights", input.weights),
        shards=study.shards,
        code=code_of("features"),
    message:
        "Features of shard {wildcards.shard} of the {wildcards.cohort} volumes"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm features --settings {params.settings:q} "
        "--volumes {input.volumes:q} --means {input.means:q} {params.splits} {params.weights} "
        "--shard {wildcards.shard} --shards {params.shards} "
        "--threads {threads} --out {output.features:q} 2>&1 | tee {log:q}"


rule diversity:
    input:
        samples=results("samples/{generator}/samples.tsv"),
    output:
        pairs=shard_file("evaluation/diversity/{generator}", ".csv"),
    log:
        results("logs/diversity/{generator}/{shard}.log"),
    benchmark:
        results("logs/diversity/{generator}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(16000),
        runtime=more(240),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "diversity", generator=wildcards.generator
        ),
        shards=study.shards,
        code=code_of("diversity"),
    message:
        "Compare pairs of samples of {wildcards.generator}, shard {wildcards.shard}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm diversity --settings {params.settings:q} "
        "--samples {input.samples:q} "
        "--shard {wildcards.shard} --shards {params.shards} --threads {threads} "
        "--out {output.pairs:q} 2>&1 | tee {log:q}"


rule synthesis:
    input:
        real=every_shard("evaluation/features/real", ".safetensors"),
        synthetic=every_shard("evaluation/features/{generator}", ".safetensors"),
        pairs=every_shard("evaluation/diversity/{generator}", ".csv"),
    output:
        metrics=results("evaluation/synthesis/{generator}.csv"),
    log:
        results("logs/synthesis/{generator}.log"),
    benchmark:
        results("logs/synthesis/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(16000),
        runtime=more(480),
    params:
        settings=settings_of("synthesis"),
        measured=lambda _, input: " ".join(
            [
                option("real", input.real),
                option("synthetic", input.synthetic),
                option("pairs", input.pairs),
            ]
        ),
        code=code_of("synthesis"),
    message:
        "Realism and diversity of {wildcards.generator}"
    shell:
        "wfdm synthesis --settings {params.settings:q} {params.measured} "
        "--out {output.metrics:q} 2>&1 | tee {log:q}"
