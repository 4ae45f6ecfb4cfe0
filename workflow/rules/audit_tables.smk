# Tables A3 and of planted duplicates, and figure A3: what the audits found.


localrules:
    tableA3,
    table_planted,


rule tableA3:
    input:
        rows=AUDITS.values(),
        membership=MEMBERSHIPS.values(),
    output:
        table=results("tables/tableA3.csv"),
        others=multiext(results("tables/tableA3"), ".md", ".tex"),
    log:
        results("logs/tableA3.log"),
    benchmark:
        results("logs/tableA3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("table_a3"),
        rows=lambda _: option(
            "row", [f"{name}={path}" for name, path in AUDITS.items()]
        ),
        membership=lambda _: option(
            "membership", [f"{name}={path}" for name, path in MEMBERSHIPS.items()]
        ),
        labels=lambda _: audit_labels(),
        code=lambda _: code_of("table_a3"),
    message:
        "Table A3: samples beside their nearest training scans"
    shell:
        "wfdm table-a3 --settings {params.settings:q} {params.rows} {params.membership} "
        "{params.labels} --out {output.table:q} 2>&1 | tee {log:q}"


rule table_planted:
    input:
        rows=PLANTS.values(),
    output:
        table=results("tables/planted.csv"),
        others=multiext(results("tables/planted"), ".md", ".tex"),
    log:
        results("logs/table_planted.log"),
    benchmark:
        results("logs/table_planted.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rows=rows("generators", PLANTS),
        code=lambda _: code_of("table_planted"),
    message:
        "Planted duplicates that were found"
    shell:
        "wfdm table-planted {params.rows} --out {output.table:q} 2>&1 | tee {log:q}"


rule figureA3:
    input:
        neighbours=expand(
            results("evaluation/neighbours/samples/{name}.csv"), name=MODELLED
        ),
        samples=expand(results("samples/{name}/samples.tsv"), name=MODELLED),
        volumes=results("preprocessed/volumes.tsv"),
    output:
        pdf=results("figures/figureA3.pdf"),
        png=results("figures/figureA3.png"),
    log:
        results("logs/figureA3.log"),
    benchmark:
        results("logs/figureA3.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        settings=lambda _: settings_of("figure_a3"),
        columns=lambda _, input: columns(
            "generators", dict(zip(MODELLED, input.neighbours))
        ),
        samples=lambda _, input: option(
            "samples",
            [f"{name}={path}" for name, path in zip(MODELLED, input.samples)],
        ),
        code=lambda _: code_of("figure_a3"),
    message:
        "Figure A3: samples beside the training scans that they are nearest to"
    shell:
        "wfdm figure-a3 --settings {params.settings:q} {params.columns} {params.samples} "
        "--volumes {input.volumes:q} --out {output.pdf:q} 2>&1 | tee {log:q}"
