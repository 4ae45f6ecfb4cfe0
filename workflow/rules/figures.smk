# The paper's figures, from the models and samples of this study.


rule figure1:
    output:
        pdf=results("figures/figure1.pdf"),
        png=report(
            results("figures/figure1.png"),
            caption="../report/figure1.rst",
            category="Figures",
            labels={"figure": "1", "content": "Architecture"},
        ),
    log:
        results("logs/figure1.log"),
    benchmark:
        results("logs/figure1.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=lambda _: settings(stages.architecture(study)),
        code=fingerprint("figure1"),
    message:
        "Figure 1: the configured architecture"
    shell:
        "wfdm figures figure1 --settings {params.settings:q} --out {output.pdf:q} "
        "2>&1 | tee {log:q}"


rule figure2:
    input:
        models=expand(
            results("compressors/{compressor}/model.safetensors"),
            compressor=COMPRESSORS,
        ),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        pdf=results("figures/figure2.pdf"),
        png=report(
            results("figures/figure2.png"),
            caption="../report/figure2.rst",
            category="Figures",
            labels={"figure": "2", "content": "Reconstructions"},
        ),
    log:
        results("logs/figure2.log"),
    benchmark:
        results("logs/figure2.benchmark.tsv")
    threads: 2
    resources:
        mem_mb=32000,
        runtime=30,
    params:
        settings=settings(
            stages.FigureStage(
                seed=study.seed, volume=study.volume, figures=study.figures
            )
        ),
        columns=option(
            "column",
            [
                f"{compressor.label}={results(f'compressors/{name}/model.safetensors')}"
                for name, compressor in COMPRESSORS.items()
            ],
        ),
        code=code_of("figure2", *COMPRESSORS),
    message:
        "Figure 2: reconstructions by compressor"
    shell:
        "wfdm figures figure2 --settings {params.settings:q} {params.columns} "
        "--volumes {input.volumes:q} --splits {input.splits:q} --threads {threads} "
        "--out {output.pdf:q} 2>&1 | tee {log:q}"


rule figure3:
    input:
        samples=expand(
            results("samples/{generator}/samples.tsv"), generator=study.generators
        ),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        pdf=results("figures/figure3.pdf"),
        png=report(
            results("figures/figure3.png"),
            caption="../report/figure3.rst",
            category="Figures",
            labels={"figure": "3", "content": "Synthetic scans"},
        ),
    log:
        results("logs/figure3.log"),
    benchmark:
        results("logs/figure3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=settings(
            stages.FigureStage(
                seed=study.seed, volume=study.volume, figures=study.figures
            )
        ),
        columns=option(
            "column",
            [
                f"{generator.label}={results(f'samples/{name}/samples.tsv')}"
                for name, generator in study.generators.items()
            ],
        ),
        code=fingerprint("figure3"),
    message:
        "Figure 3: real and synthetic scans"
    shell:
        "wfdm figures figure3 --settings {params.settings:q} {params.columns} "
        "--volumes {input.volumes:q} --splits {input.splits:q} "
        "--out {output.pdf:q} 2>&1 | tee {log:q}"
