# The paper's figures, from the models and samples of this study.

from wfdm.figures import BY_MODALITY as IN_FIGURES

MODELS = {
    name: results(f"compressors/{name}/model.safetensors") for name in COMPRESSORS
}
DRAWN = {str(number): modality for modality, number in IN_FIGURES.items()}
SAMPLES = {
    name: results(f"samples/{name}/samples.tsv") for name in rows_of.table4(study)
}


if study.figures.generator:

    rule figure1:
        output:
            pdf=results("figures/figure1.pdf"),
            png=results("figures/figure1.png"),
        log:
            results("logs/figure1.log"),
        benchmark:
            results("logs/figure1.benchmark.tsv")
        threads: 1
        resources:
            mem_mb=more(4000),
            runtime=more(10),
        params:
            settings=lambda _: settings_of("figure1", **drawn()),
            compressor=label_of("compressors", drawn()["compressor"]),
            generator=label_of("generators", drawn()["generator"]),
            code=lambda _: code_of("figure1"),
        message:
            "Figure 1: the configured architecture"
        shell:
            "wfdm figure1 --settings {params.settings:q} --compressor {params.compressor:q} "
            "--generator {params.generator:q} --out {output.pdf:q} 2>&1 | tee {log:q}"


rule figure2:
    input:
        models=MODELS.values(),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        pdf=results("figures/figure2.pdf"),
        png=results("figures/figure2.png"),
    log:
        results("logs/figure2.log"),
    benchmark:
        results("logs/figure2.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(30),
        gpu=1,
    params:
        settings=lambda _: settings_of("figure2"),
        columns=columns("compressors", MODELS),
        code=lambda _: code_of("figure2", *map(architecture, MODELS)),
    message:
        "Figure 2: reconstructions by compressor"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm figure2 --settings {params.settings:q} {params.columns} "
        "--volumes {input.volumes:q} --splits {input.splits:q} --threads {threads} "
        "--out {output.pdf:q} 2>&1 | tee {log:q}"


rule figure3:
    input:
        samples=SAMPLES.values(),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        pdf=results("figures/figure3.pdf"),
        png=results("figures/figure3.png"),
    log:
        results("logs/figure3.log"),
    benchmark:
        results("logs/figure3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        settings=lambda _: settings_of("figure3"),
        columns=columns("generators", SAMPLES),
        only="",
        code=lambda _: code_of("figure3"),
    message:
        "Figure 3: real and synthetic scans"
    shell:
        "wfdm figure3 --settings {params.settings:q} {params.columns} {params.only} "
        "--volumes {input.volumes:q} --splits {input.splits:q} "
        "--out {output.pdf:q} 2>&1 | tee {log:q}"


use rule figure3 as figure4to7 with:
    output:
        pdf=results("figures/figure{number}.pdf"),
        png=results("figures/figure{number}.png"),
    log:
        results("logs/figure{number}.log"),
    benchmark:
        results("logs/figure{number}.benchmark.tsv")
    wildcard_constraints:
        number="|".join(DRAWN),
    params:
        settings=lambda _: settings_of("figure3"),
        columns=columns("generators", SAMPLES),
        only=lambda wildcards: f"--modality {DRAWN[wildcards.number]}",
        modality=lambda wildcards: DRAWN[wildcards.number],
        code=lambda _: code_of("figure3"),
    message:
        "Figure {wildcards.number}: real and synthetic {params.modality} scans in three planes"
