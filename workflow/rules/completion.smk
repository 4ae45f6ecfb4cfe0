# Completion: a branch that makes a session's missing modalities from those there are, and table A1.
# None runs unless the configuration names a completion (docs/completion.md).

MADE_AGAIN = {
    name: results(f"completions/{name}/test/samples.tsv") for name in study.completions
}
COMPLETED = {
    name: results(f"evaluation/completion/{name}.csv") for name in study.completions
}


localrules:
    completed,
    completed_tests,
    join_completion,
    tableA1,


wildcard_constraints:
    completion="|".join(study.completions) or "none",


rule train_completion:
    input:
        denoiser=completed_by("model.safetensors"),
        config=completed_by("config.json"),
        standard=completed_by("standard.safetensors"),
        latents=latents_completed("scale.json"),
        index=latents_completed("index.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        schema="config/metadata.yaml",
    output:
        model=results("completions/{completion}/model.safetensors"),
        config=results("completions/{completion}/config.json"),
        history=results("completions/{completion}/history.csv"),
    log:
        results("logs/train_completion/{completion}.log"),
    benchmark:
        results("logs/train_completion/{completion}.benchmark.tsv")
    threads: lambda wildcards: study.completions[wildcards.completion].training.threads
    resources:
        mem_mb=more(64000),
        runtime=7200,
        gpu=1,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of(
            "train_completion", completion=wildcards.completion
        ),
        code=lambda wildcards: code_of(
            "train_completion",
            denoiser_completed(wildcards).network.implementation,
            denoiser_completed(wildcards).process.implementation,
        ),
    message:
        "Train completion {wildcards.completion}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm train-completion --settings {params.settings:q} "
        "--denoiser {input.denoiser:q} --latents {input.latents:q} "
        "--scans {input.scans:q} --splits {input.splits:q} --threads {threads} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule train_plain_unet:
    input:
        denoiser=completed_by("model.safetensors"),
        config=completed_by("config.json"),
        standard=completed_by("standard.safetensors"),
        latents=latents_completed("scale.json"),
        index=latents_completed("index.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        schema="config/metadata.yaml",
    output:
        model=results("completions/{completion}/unet/model.safetensors"),
        config=results("completions/{completion}/unet/config.json"),
        standard=results("completions/{completion}/unet/standard.safetensors"),
        history=results("completions/{completion}/unet/history.csv"),
    log:
        results("logs/train_plain_unet/{completion}.log"),
    benchmark:
        results("logs/train_plain_unet/{completion}.benchmark.tsv")
    threads: lambda wildcards: study.completions[wildcards.completion].training.threads
    resources:
        mem_mb=more(64000),
        runtime=7200,
        gpu=1,
        slurm_extra=BEFORE_THE_END,
    params:
        settings=lambda wildcards: settings_of(
            "train_plain_unet", completion=wildcards.completion
        ),
        code=lambda wildcards: code_of(
            "train_plain_unet", denoiser_completed(wildcards).network.implementation
        ),
    message:
        "Train the plain U-Net beside completion {wildcards.completion}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm train-plain-unet --settings {params.settings:q} "
        "--denoiser {input.denoiser:q} --latents {input.latents:q} "
        "--scans {input.scans:q} --splits {input.splits:q} --threads {threads} "
        "--out {output.model:q} 2>&1 | tee {log:q} || requeue $?"


rule complete_tests:
    input:
        model=results("completions/{completion}/model.safetensors"),
        config=results("completions/{completion}/config.json"),
        denoiser=completed_by("model.safetensors"),
        compressor=compressor_completed,
        volumes=results("preprocessed/volumes.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        samples=shard_file("completions/{completion}/test", ".tsv"),
    log:
        results("logs/complete_tests/{completion}/{shard}.log"),
    benchmark:
        results("logs/complete_tests/{completion}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(480),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "complete_cohort", completion=wildcards.completion
        ),
        missing="",
        shards=study.shards,
        code=lambda wildcards: code_sampled(
            "complete_cohort", denoiser_completed(wildcards)
        ),
    message:
        "Make test scans of shard {wildcards.shard} again with {wildcards.completion}"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm complete-cohort --settings {params.settings:q} "
        "--model {input.model:q} "
        "--scans {input.scans:q} --splits {input.splits:q} --volumes {input.volumes:q} "
        "--shard {wildcards.shard} --shards {params.shards} {params.missing} "
        "--threads {threads} --out {output.samples:q} 2>&1 | tee {log:q}"


use rule complete_tests as complete_missing with:
    output:
        samples=shard_file("completions/{completion}/missing", ".tsv"),
    log:
        results("logs/complete_missing/{completion}/{shard}.log"),
    benchmark:
        results("logs/complete_missing/{completion}/{shard}.benchmark.tsv")
    params:
        settings=lambda wildcards: settings_of(
            "complete_cohort", completion=wildcards.completion
        ),
        missing="--missing",
        shards=study.shards,
        code=lambda wildcards: code_sampled(
            "complete_cohort", denoiser_completed(wildcards)
        ),
    message:
        "Make what the sessions of shard {wildcards.shard} lack with {wildcards.completion}"


rule completed:
    input:
        shards=every_shard("completions/{completion}/missing", ".tsv"),
        volumes=results("preprocessed/volumes.tsv"),
    output:
        volumes=results("completions/{completion}/missing/volumes.tsv"),
    log:
        results("logs/completed/{completion}.log"),
    benchmark:
        results("logs/completed/{completion}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: settings_of(
            "completed", completion=wildcards.completion
        ),
        shards=study.shards,
        code=code_of("completed"),
    message:
        "List what {wildcards.completion} made for sessions that lacked it"
    shell:
        "wfdm completed --settings {params.settings:q} --volumes {input.volumes:q} "
        "--shards {params.shards} --out {output.volumes:q} 2>&1 | tee {log:q}"


use rule samples as completed_tests with:
    input:
        shards=every_shard("completions/{completion}/test", ".tsv"),
    output:
        samples=results("completions/{completion}/test/samples.tsv"),
    log:
        results("logs/completed_tests/{completion}.log"),
    benchmark:
        results("logs/completed_tests/{completion}.benchmark.tsv")
    message:
        "List the test scans that {wildcards.completion} made again"


rule completion_metrics:
    input:
        completed=shard_file("completions/{completion}/test", ".tsv"),
        latents=latents_completed("scale.json"),
        index=latents_completed("index.tsv"),
        compressor=compressor_completed,
        unet=plain_unet_of,
        lesions=phantom_lesions_of,
        means=results("evaluation/mean_volumes.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        rows=shard_file("evaluation/completion/{completion}", ".csv"),
    log:
        results("logs/completion_metrics/{completion}/{shard}.log"),
    benchmark:
        results("logs/completion_metrics/{completion}/{shard}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(16000),
        runtime=more(480),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "completion_metrics", completion=wildcards.completion
        ),
        unet=lambda wildcards, input: f"--unet {input.unet}" if input.unet else "",
        code=lambda wildcards: code_of(
            "completion_metrics",
            architecture(compressor_of(denoiser_completed(wildcards))),
        ),
    message:
        "Judge shard {wildcards.shard} of what {wildcards.completion} made again"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm completion-metrics --settings {params.settings:q} "
        "--completed {input.completed:q} --latents {input.latents:q} --means {input.means:q} "
        "--volumes {input.volumes:q} --splits {input.splits:q} {params.unet} "
        "--threads {threads} --out {output.rows:q} 2>&1 | tee {log:q}"


use rule join as join_completion with:
    input:
        parts=every_shard("evaluation/completion/{completion}", ".csv"),
    output:
        rows=results("evaluation/completion/{completion}.csv"),
    log:
        results("logs/join_completion/{completion}.log"),
    benchmark:
        results("logs/join_completion/{completion}.benchmark.tsv")
    message:
        "Join the metrics of {wildcards.completion}"


rule tableA1:
    input:
        rows=COMPLETED.values(),
    output:
        table=results("tables/tableA1.csv"),
        others=multiext(results("tables/tableA1"), ".md", ".tex"),
    log:
        results("logs/tableA1.log"),
    benchmark:
        results("logs/tableA1.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("completions", COMPLETED),
        code=lambda _: code_of("table_a1"),
    message:
        "Table A1: completed scans by target and source set"
    shell:
        "wfdm table-a1 {params.rows} --out {output.table:q} 2>&1 | tee {log:q}"


rule figureA1:
    input:
        samples=MADE_AGAIN.values(),
        volumes=results("preprocessed/volumes.tsv"),
    output:
        pdf=results("figures/figureA1.pdf"),
        png=results("figures/figureA1.png"),
    log:
        results("logs/figureA1.log"),
    benchmark:
        results("logs/figureA1.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        settings=lambda _: settings_of("figure_a1"),
        columns=columns("completions", MADE_AGAIN),
        code=lambda _: code_of("figure_a1"),
    message:
        "Figure A1: completed scans, and where they differ"
    shell:
        "wfdm figure-a1 --settings {params.settings:q} {params.columns} "
        "--volumes {input.volumes:q} --out {output.pdf:q} 2>&1 | tee {log:q}"
