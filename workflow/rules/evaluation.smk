# Metrics: reconstruction per scan, features per scan, realism and diversity per modality.


rule floors:
    input:
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        lpips=weights(study.evaluation.lpips),
    output:
        means=results("evaluation/mean_volumes.safetensors"),
        rows=results("evaluation/reconstruction/mean_volume.csv"),
    log:
        results("logs/floors.log"),
    benchmark:
        results("logs/floors.benchmark.tsv")
    threads: 2
    resources:
        mem_mb=16000,
        runtime=600,
    params:
        settings=settings(stages.reconstruction(study)),
        lpips=lambda _, input: option("lpips", input.lpips),
        code=fingerprint("floors"),
    message:
        "Mean volumes of the training split: the floor that every model must beat"
    shell:
        "wfdm evaluate floors --settings {params.settings:q} --volumes {input.volumes:q} "
        "--splits {input.splits:q} {params.lpips} --threads {threads} --means {output.means:q} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


rule reconstruction:
    input:
        model=results("compressors/{compressor}/model.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
        lpips=weights(study.evaluation.lpips),
    output:
        metrics=results("evaluation/reconstruction/{compressor}.csv"),
    log:
        results("logs/reconstruction/{compressor}.log"),
    benchmark:
        results("logs/reconstruction/{compressor}.benchmark.tsv")
    threads: 2
    resources:
        mem_mb=32000,
        runtime=1440,
        gpu=1,
    params:
        settings=settings(stages.reconstruction(study)),
        lpips=lambda _, input: option("lpips", input.lpips),
        code=lambda wildcards: code_of("reconstruction", wildcards.compressor),
    message:
        "Reconstruct the test split with {wildcards.compressor}"
    shell:
        "wfdm evaluate reconstruction --settings {params.settings:q} "
        "--compressor {input.model:q} --volumes {input.volumes:q} --splits {input.splits:q} "
        "{params.lpips} --threads {threads} --out {output.metrics:q} 2>&1 | tee {log:q}"


rule features:
    input:
        volumes=lambda wildcards: results(
            "preprocessed/volumes.tsv"
            if wildcards.cohort == "real"
            else f"samples/{wildcards.cohort}/samples.tsv"
        ),
        splits=results("data/splits.tsv"),
        weights=weights(study.evaluation.features),
    output:
        features=results("evaluation/features/{cohort}.safetensors"),
    log:
        results("logs/features/{cohort}.log"),
    benchmark:
        results("logs/features/{cohort}.benchmark.tsv")
    wildcard_constraints:
        cohort="|".join(["real", *study.generators]),
    threads: 2
    resources:
        mem_mb=32000,
        runtime=1440,
        gpu=1,
    params:
        settings=settings(
            stages.FeaturesStage(
                volume=study.volume,
                network=study.evaluation.features,
                intensity=study.evaluation.intensity,
            )
        ),
        weights=lambda _, input: option("weights", input.weights),
        code=fingerprint("features"),
    message:
        "Features of {wildcards.cohort} volumes"
    shell:
        "wfdm evaluate features --settings {params.settings:q} --volumes {input.volumes:q} "
        "--splits {input.splits:q} {params.weights} --threads {threads} "
        "--out {output.features:q} 2>&1 | tee {log:q}"


rule synthesis:
    input:
        real=results("evaluation/features/real.safetensors"),
        synthetic=results("evaluation/features/{generator}.safetensors"),
        samples=results("samples/{generator}/samples.tsv"),
        means=results("evaluation/mean_volumes.safetensors"),
    output:
        metrics=results("evaluation/synthesis/{generator}.csv"),
    log:
        results("logs/synthesis/{generator}.log"),
    benchmark:
        results("logs/synthesis/{generator}.benchmark.tsv")
    threads: 2
    resources:
        mem_mb=32000,
        runtime=1440,
    params:
        settings=lambda wildcards: settings(
            stages.synthesis(study, wildcards.generator)
        ),
        code=fingerprint("synthesis"),
    message:
        "Realism and diversity of {wildcards.generator}"
    shell:
        "wfdm evaluate synthesis --settings {params.settings:q} --real {input.real:q} "
        "--synthetic {input.synthetic:q} --samples {input.samples:q} --means {input.means:q} "
        "--threads {threads} --out {output.metrics:q} 2>&1 | tee {log:q}"
