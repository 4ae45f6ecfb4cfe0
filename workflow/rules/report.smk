# What the report shows: pages made of tables and figures that are finished.

TABLES = {
    f"table{number}": results(f"tables/table{number}.csv") for number in range(1, 20)
}
FIGURES = {
    f"figure{number}": results(f"figures/figure{number}.png")
    for number in [*([1] if study.figures.generator else []), *range(2, 8)]
}
DATA = {
    **({"Draws of samples": results("tables/draws.csv")} if DRAWS else {}),
    **(
        {
            "Completed scans": results("tables/tableA1.csv"),
            "Completed scans, drawn": results("figures/figureA1.png"),
        }
        if study.completions
        else {}
    ),
    **(
        {"Control by metadata": results("tables/tableA2.csv")}
        if study.controllability
        else {}
    ),
    **{
        f"Control by metadata of {name}, drawn": path
        for name, path in FIGURES_A2.items()
    },
    **(
        {
            "Memorisation": results("tables/tableA3.csv"),
            "Samples and training scans, drawn": results("figures/figureA3.png"),
        }
        if study.memorisation
        else {}
    ),
    **(
        {
            "Quality against steps": results("tables/tableA4.csv"),
            "Quality against steps, drawn": results("figures/figureA4.png"),
        }
        if study.few_steps
        else {}
    ),
    **({"Planted duplicates": results("tables/planted.csv")} if PLANTS else {}),
    "Differences from the paper's study": results("tables/differences.csv"),
    "Metadata coverage": results("data/coverage.tsv"),
    "People in two splits": results("data/leaks.tsv"),
    "Near-duplicates for review": results("data/near_duplicates.tsv"),
}
WORDS = {
    **{
        "figure1": "Architecture",
        "figure2": "Reconstructions",
        "figure3": "Synthetic scans",
    },
    **{f"figure{number}": f"Synthetic {m} scans" for number, m in DRAWN.items()},
    **{"table1": "Scans per split", "table2": "Synthesis models"},
    **{
        "table3": "Reconstruction",
        "table4": "Synthesis",
        "table5": "Schedulers",
        "table6": "Times",
        "table7": "Times of schedulers",
    },
    **{f"table{number}": f"Reconstruction, {m}" for number, m in RECONSTRUCTED.items()},
    **{f"table{number}": f"Synthesis, {m}" for number, m in SYNTHESISED.items()},
    **{f"table{number}": f"Schedulers, {m}" for number, m in SCHEDULED.items()},
}
# Tables and figures of the appendix have one caption for all modalities.
CAPTIONS = {
    **{f"table{number}": "table8to11" for number in RECONSTRUCTED},
    **{f"table{number}": "table12to15" for number in SYNTHESISED},
    **{f"table{number}": "table16to19" for number in SCHEDULED},
    **{f"figure{number}": "figure4to7" for number in DRAWN},
}


localrules:
    pages,


rule pages:
    input:
        contents="config/published/contents.csv",
        made=[*TABLES.values(), *FIGURES.values()],
        data=DATA.values(),
        quality=results("preprocessed/quality.tsv"),
    output:
        overview=page_of(
            "overview", "overview", "Contents", page="The study at a glance"
        ),
        quality=page_of("quality", "quality", "Quality", page="The worst sessions"),
        made=[numbered_page(key) for key in TABLES | FIGURES],
        data=[
            page_of(path, Path(path).stem.partition("-")[0], "Data", table=title)
            for title, path in DATA.items()
        ],
    log:
        results("logs/pages.log"),
    benchmark:
        results("logs/pages.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_of("pages"),
        made=option(
            "made", [f"{key}={path}" for key, path in (TABLES | FIGURES).items()]
        ),
        data=option("data", [f"{title}={path}" for title, path in DATA.items()]),
        logs=results("logs"),
        code=lambda _: code_of("pages"),
    message:
        "Write the pages of the report"
    shell:
        "wfdm pages --settings {params.settings:q} --contents {input.contents:q} {params.made} "
        "{params.data} --quality {input.quality:q} --logs {params.logs:q} "
        "--out {output.overview:q} 2>&1 | tee {log:q}"
