# Fewer steps: denoisers that are distilled from a trained one, and table A4, quality against steps.
# None runs unless the configuration names a student, or asks for the table (docs/few-steps.md).

TEACHER = study.few_steps.denoiser if study.few_steps else None
FEW = rows_of.few_steps(study) if study.few_steps else []
FEW_METRICS = {
    name: results(f"evaluation/synthesis/{name}.csv")
    for name in [*FEW, *(rows_of.references(study) if study.few_steps else [])]
}
ENDS = {name: results(f"evaluation/endpoints/{name}.safetensors") for name in FEW}
CLOCKS = {name: results(f"evaluation/timing/{name}.json") for name in FEW}


localrules:
    tableA4,


wildcard_constraints:
    distilled="|".join(study.distilled) or "none",


rule pairs:
    input:
        denoiser=taught_by("model.safetensors"),
        config=taught_by("config.json"),
        standard=taught_by("standard.safetensors"),
        compressor=compressed_as("compressors/{}/model.safetensors"),
        latents=compressed_as("latents/{}/scale.json"),
        index=compressed_as("latents/{}/index.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        latents=shard_file("pairs/{distilled}", ".npy"),
        table=shard_file("pairs/{distilled}", ".tsv"),
    log:
        results("logs/pairs/{distilled}/{shard}.log"),
    benchmark:
        results("logs/pairs/{distilled}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(1440),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of("pairs", distilled=wildcards.distilled),
        shards=study.shards,
        code=lambda wildcards: code_sampled(
            "pairs", denoiser_of(study, wildcards.distilled)
        ),
    message:
        "Make shard {wildcards.shard} of the pairs that {wildcards.distilled} learns from"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm pairs --settings {params.settings:q} "
        "--denoiser {input.denoiser:q} --latents {input.latents:q} "
        "--scans {input.scans:q} --splits {input.splits:q} "
        "--shard {wildcards.shard} --shards {params.shards} --threads {threads} "
        "--out {output.latents:q} 2>&1 | tee {log:q}"


rule distil:
    input:
        denoiser=taught_by("model.safetensors"),
        config=taught_by("config.json"),
        standard=taught_by("standard.safetensors"),
        pairs=every_shard("pairs/{distilled}", ".tsv"),
        arrays=every_shard("pairs/{distilled}", ".npy"),
    output:
        model=results("denoisers/{distilled}/model.safetensors"),
        config=results("denoisers/{distilled}/config.json"),
        standard=results("denoisers/{distilled}/standard.safetensors"),
        history=results("denoisers/{distilled}/history.csv"),
    log:
        results("logs/distil/{distilled}.log"),
    benchmark:
        results("logs/distil/{distilled}.benchmark.tsv")
    priority: 2  # samples wait for it
    threads: lambda wildcards: study.distilled[wildcards.distilled].training.threads
    resources:
        mem_mb=more(64000),
        runtime=7200,
        gpu=1,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of("distil", distilled=wildcards.distilled),
        pairs=lambda _, input: option("pairs", input.pairs),
        code=lambda wildcards: code_denoised("distil", wildcards.distilled),
    message:
        "Distil denoiser {wildcards.distilled}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm distil --settings {params.settings:q} "
        "--denoiser {input.denoiser:q} {params.pairs} --threads {threads} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule endpoints:
    input:
        denoiser=source_of,
        models=models_of,
        volumes=results("preprocessed/volumes.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        latents=results("evaluation/endpoints/{generator}.safetensors"),
    log:
        results("logs/endpoints/{generator}.log"),
    benchmark:
        results("logs/endpoints/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(240),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "endpoints", generator=wildcards.generator
        ),
        draws=1,
        code=lambda wildcards: code_of_made("endpoints", wildcards),
    message:
        "Latents that {wildcards.generator} ends in"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm endpoints --settings {params.settings:q} "
        "--denoiser {input.denoiser:q} "
        "--scans {input.scans:q} --splits {input.splits:q} --volumes {input.volumes:q} "
        "--draws {params.draws} --threads {threads} "
        "--out {output.latents:q} 2>&1 | tee {log:q}"


use rule endpoints as endpoints_reference with:
    input:
        denoiser=results(f"denoisers/{TEACHER}/model.safetensors"),
        models=lambda _: results(
            f"compressors/{compressor_of(study.denoisers[TEACHER])}/model.safetensors"
        ),
        volumes=results("preprocessed/volumes.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        latents=results("evaluation/many_steps.safetensors"),
    log:
        results("logs/endpoints_reference.log"),
    benchmark:
        results("logs/endpoints_reference.benchmark.tsv")
    params:
        settings=lambda _: settings_of("endpoints"),
        draws=2,  # the second tells how far apart two noises end
        code=lambda _: code_sampled("endpoints", study.denoisers[TEACHER]),
    message:
        "Latents that many steps end in"


rule tableA4:
    input:
        rows=FEW_METRICS.values(),
        ends=ENDS.values(),
        times=CLOCKS.values(),
        many=results("evaluation/many_steps.safetensors"),
    output:
        table=results("tables/tableA4.csv"),
        others=multiext(results("tables/tableA4"), ".md", ".tex"),
    log:
        results("logs/tableA4.log"),
    benchmark:
        results("logs/tableA4.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda _: settings_of("table_a4"),
        rows=rows("generators", FEW_METRICS),
        ends=option("ends", [f"{name}={path}" for name, path in ENDS.items()]),
        times=option("times", [f"{name}={path}" for name, path in CLOCKS.items()]),
        code=lambda _: code_of("table_a4"),
    message:
        "Table A4: quality against steps"
    shell:
        "wfdm table-a4 --settings {params.settings:q} {params.rows} {params.ends} "
        "{params.times} --many {input.many:q} --out {output.table:q} 2>&1 | tee {log:q}"


rule figureA4:
    input:
        table=results("tables/tableA4.csv"),
    output:
        pdf=results("figures/figureA4.pdf"),
        png=results("figures/figureA4.png"),
    log:
        results("logs/figureA4.log"),
    benchmark:
        results("logs/figureA4.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(10),
    params:
        settings=lambda _: settings_of("figure_a4"),
        code=lambda _: code_of("figure_a4"),
    message:
        "Figure A4: quality against steps"
    shell:
        "wfdm figure-a4 --settings {params.settings:q} --table {input.table:q} "
        "--out {output.pdf:q} 2>&1 | tee {log:q}"
