# Controllability: what changes in a generator's samples when one field of the metadata does, and
# table A2. None runs unless the configuration names a generator (docs/controllability.md).

CONTROLS = {
    name: results(f"evaluation/controllability/{name}.csv")
    for name in study.controllability
}
FIGURES_A2 = {
    name: results(f"figures/figureA2-{name}.png") for name in study.controllability
}


localrules:
    controllability,
    tableA2,


rule phantom_truth:
    input:
        templates=lambda _: assets([PHANTOMS[0].template, PHANTOMS[0].brain]),
    output:
        table=results("controllability/{generator}/phantoms.tsv"),
    log:
        results("logs/phantom_truth/{generator}.log"),
    benchmark:
        results("logs/phantom_truth/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(60),
    params:
        settings=lambda wildcards: settings_of(
            "phantom_truth", generator=wildcards.generator
        ),
        templates=lambda _, input: option("template", input.templates),
        code=code_of("phantom_truth"),
    message:
        "Make the phantoms that tell what {wildcards.generator} should change"
    shell:
        "wfdm phantom-truth --settings {params.settings:q} {params.templates} "
        "--out {output.table:q} 2>&1 | tee {log:q}"


rule controlled:
    input:
        source=source_of,
        models=models_of,
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
        volumes=results("preprocessed/volumes.tsv"),
        phantoms=[results("controllability/{generator}/phantoms.tsv")][: bool(PHANTOMS)],
    output:
        volumes=results("controllability/{generator}/volumes.tsv"),
    log:
        results("logs/controlled/{generator}.log"),
    benchmark:
        results("logs/controlled/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(480),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "controlled", generator=wildcards.generator
        ),
        phantoms=lambda _, input: option("phantoms", input.phantoms),
        code=lambda wildcards: code_of_made("controlled", wildcards),
    message:
        "Ask {wildcards.generator} for one value after the other"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm controlled --settings {params.settings:q} "
        "--source {input.source:q} --scans {input.scans:q} --splits {input.splits:q} "
        "--volumes {input.volumes:q} {params.phantoms} --threads {threads} "
        "--out {output.volumes:q} 2>&1 | tee {log:q}"


rule measured:
    input:
        volumes=results("controllability/{generator}/volumes.tsv"),
        assets=lambda wildcards: assets(
            study.controllability[wildcards.generator].assets
        ),
    output:
        rows=results("controllability/{generator}/measured.csv"),
    log:
        results("logs/measured/{generator}.log"),
    benchmark:
        results("logs/measured/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(16000),
        runtime=more(1440),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "measured", generator=wildcards.generator
        ),
        assets=lambda _, input: option("asset", input.assets),
        code=code_of("measured"),
    message:
        "Measure what {wildcards.generator} made, and real scans"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm measured --settings {params.settings:q} "
        "--volumes {input.volumes:q} {params.assets} --threads {threads} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


use rule features as features_controlled with:
    input:
        volumes=results("controllability/{generator}/volumes.tsv"),
        splits=[],
        means=results("evaluation/mean_volumes.safetensors"),
        weights=assets(study.evaluation.features.assets),
    output:
        features=shard_file("controllability/{generator}/features", ".safetensors"),
    log:
        results("logs/features_controlled/{generator}/{shard}.log"),
    benchmark:
        results("logs/features_controlled/{generator}/{shard}.benchmark.tsv")
    params:
        settings=settings_of("features"),
        splits="",
        weights=lambda _, input: option("weights", input.weights),
        shards=study.shards,
        code=code_of("features"),
    message:
        "Features of shard {wildcards.shard} of what {wildcards.generator} made, and of real scans"


rule controllability:
    input:
        measured=results("controllability/{generator}/measured.csv"),
        features=every_shard("controllability/{generator}/features", ".safetensors"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        rows=results("evaluation/controllability/{generator}.csv"),
    log:
        results("logs/controllability/{generator}.log"),
    benchmark:
        results("logs/controllability/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda wildcards: settings_of(
            "controllability", generator=wildcards.generator
        ),
        features=lambda _, input: option("features", input.features),
        code=code_of("controllability"),
    message:
        "What the metadata control in {wildcards.generator}"
    shell:
        "wfdm controllability --settings {params.settings:q} --measured {input.measured:q} "
        "{params.features} --scans {input.scans:q} --splits {input.splits:q} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


rule tableA2:
    input:
        rows=CONTROLS.values(),
    output:
        table=results("tables/tableA2.csv"),
        others=multiext(results("tables/tableA2"), ".md", ".tex"),
    log:
        results("logs/tableA2.log"),
    benchmark:
        results("logs/tableA2.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("generators", CONTROLS),
        code=lambda _: code_of("table_a2"),
    message:
        "Table A2: what changes when one field of the metadata does"
    shell:
        "wfdm table-a2 {params.rows} --out {output.table:q} 2>&1 | tee {log:q}"


rule figureA2:
    input:
        measured=results("controllability/{generator}/measured.csv"),
        scans=results("data/scans.tsv"),
    output:
        pdf=results("figures/figureA2-{generator}.pdf"),
        png=results("figures/figureA2-{generator}.png"),
    log:
        results("logs/figureA2/{generator}.log"),
    benchmark:
        results("logs/figureA2/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        settings=lambda wildcards: settings_of(
            "figure_a2", generator=wildcards.generator
        ),
        code=lambda _: code_of("figure_a2"),
    message:
        "Figure A2: what {wildcards.generator} was asked for, and what is measured"
    shell:
        "wfdm figure-a2 --settings {params.settings:q} --measured {input.measured:q} "
        "--scans {input.scans:q} --out {output.pdf:q} 2>&1 | tee {log:q}"
