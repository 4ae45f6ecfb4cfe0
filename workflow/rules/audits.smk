# Audits of memorisation: samples beside their nearest training scans, training scans beside others;
# tables A3 and of planted duplicates. None runs unless `memorisation` is set (docs/memorisation.md).

SEARCHED = study.memorisation.spaces if study.memorisation else []
MODELLED = rows_of.table2(study) if study.memorisation else []
DENOISED_BY = {
    name: study.generators[name].denoiser
    for name in MODELLED
    if study.generators[name].kind == "diffusion"
}
ASKED = list(DENOISED_BY) if study.memorisation and study.memorisation.asked else []
KNOWN = rows_of.known_copies(study) if study.memorisation else []
# Rows of table A3: samples asked for test scans, the same asked for training scans, and the floor.
AUDITS = {
    **{
        name: results(f"evaluation/memorisation/samples/{name}.csv")
        for name in MODELLED
    },
    **{
        f"{name}.training": results(
            f"evaluation/memorisation/samples_training/{name}.csv"
        )
        for name in [*ASKED, *KNOWN]
    },
    **(
        {"validation": results("evaluation/memorisation/validation.csv")}
        if study.memorisation
        else {}
    ),
}
# The features of a generator's samples, by the folder of these.
FEATURES = {
    "samples": "evaluation/features/{generator}",
    "samples_training": "evaluation/features_training/{generator}",
}
MEMBERSHIPS = {
    name: results(f"evaluation/membership/{denoiser}_auc.csv")
    for name, denoiser in DENOISED_BY.items()
}
PLANTS = {
    name: results(f"evaluation/memorisation/{name}_planted.csv") for name in ASKED
}


localrules:
    memorisation,
    memorisation_floor,
    planted,
    samples_training,


wildcard_constraints:
    asked="samples|samples_training",


use rule sample as sample_training with:
    output:
        samples=shard_file("samples_training/{generator}", ".tsv"),
    log:
        results("logs/sample_training/{generator}/{shard}.log"),
    benchmark:
        results("logs/sample_training/{generator}/{shard}.benchmark.tsv")
    priority: 0
    params:
        settings=lambda wildcards: settings_of(
            "sample_test", generator=wildcards.generator
        ),
        training=lambda _: f"--training {study.memorisation.asked or 0}",
        shards=study.shards,
        code=lambda wildcards: code_of_made("sample_test", wildcards),
    message:
        "Ask {wildcards.generator} for training scans, shard {wildcards.shard}"


use rule samples as samples_training with:
    input:
        shards=every_shard("samples_training/{generator}", ".tsv"),
    output:
        samples=results("samples_training/{generator}/samples.tsv"),
    log:
        results("logs/samples_training/{generator}.log"),
    benchmark:
        results("logs/samples_training/{generator}.benchmark.tsv")
    message:
        "List what {wildcards.generator} made for training scans"


use rule features as features_training with:
    input:
        volumes=lambda wildcards: results(
            "preprocessed/volumes.tsv"
            if wildcards.cohort == "real"
            else f"samples_training/{wildcards.cohort}/samples.tsv"
        ),
        splits=rules.features.input.splits,
        means=results("evaluation/mean_volumes.safetensors"),
        weights=assets(study.evaluation.features.assets),
    output:
        features=shard_file("evaluation/features_training/{cohort}", ".safetensors"),
    log:
        results("logs/features_training/{cohort}/{shard}.log"),
    benchmark:
        results("logs/features_training/{cohort}/{shard}.benchmark.tsv")
    params:
        settings=settings_of("features"),
        splits=lambda _, input: " ".join(
            [
                option("splits", input.splits),
                option("split", ["train", "validation"] if input.splits else []),
            ]
        ),
        weights=lambda _, input: option("weights", input.weights),
        shards=study.shards,
        code=code_of("features"),
    message:
        "Features of shard {wildcards.shard} of the {wildcards.cohort} volumes of training scans"


use rule encode as encode_samples with:
    input:
        model=lambda _: results(
            f"compressors/{study.memorisation.compressor}/model.safetensors"
        ),
        volumes=results("{asked}/{generator}/samples.tsv"),
    output:
        latents=shard_file("{asked}/{generator}/latents", ".npy"),
        rows=shard_file("{asked}/{generator}/latents", ".tsv"),
    log:
        results("logs/encode_samples/{asked}/{generator}/{shard}.log"),
    benchmark:
        results("logs/encode_samples/{asked}/{generator}/{shard}.benchmark.tsv")
    priority: 0
    params:
        settings=settings_of("encode"),
        shards=study.shards,
        code=lambda _: code_of("encode", architecture(study.memorisation.compressor)),
    message:
        "Encode shard {wildcards.shard} of the {wildcards.asked} of {wildcards.generator}"


rule neighbours:
    input:
        samples=results("{asked}/{generator}/samples.tsv"),
        encoded=lambda wildcards: (
            every_shard("{asked}/{generator}/latents", ".npy")(wildcards)
            if "latent" in SEARCHED
            else []
        ),
        own=lambda wildcards: (
            every_shard(FEATURES[wildcards.asked], ".safetensors")(wildcards)
            if "feature" in SEARCHED
            else []
        ),
        fitted=(
            every_shard("evaluation/features_training/real", ".safetensors")
            if "feature" in SEARCHED
            else []
        ),
        latents=audited_latents("scale.json"),
        index=audited_latents("index.tsv"),
        moments=audited_latents("moments.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        rows=results("evaluation/neighbours/{asked}/{generator}.csv"),
    log:
        results("logs/neighbours/{asked}/{generator}.log"),
    benchmark:
        results("logs/neighbours/{asked}/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(2880),
    params:
        settings=lambda _: settings_of("neighbours"),
        samples=lambda _, input: option("samples", [input.samples]),
        measured=lambda _, input: " ".join(
            option(name, input.get(name, [])) for name in ("encoded", "own", "fitted")
        ),
        code=lambda _: code_of("neighbours"),
    message:
        "Nearest training scans of the {wildcards.asked} of {wildcards.generator}"
    shell:
        "wfdm neighbours --settings {params.settings:q} {params.samples} {params.measured} "
        "--latents {input.latents:q} --volumes {input.volumes:q} --splits {input.splits:q} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"


use rule neighbours as neighbours_real with:
    input:
        own=lambda _: [
            path
            for folder in ("features", "features_training")
            for path in every_shard(f"evaluation/{folder}/real", ".safetensors")({})
            if "feature" in SEARCHED
        ],
        fitted=rules.neighbours.input.fitted,
        latents=audited_latents("scale.json"),
        index=audited_latents("index.tsv"),
        moments=audited_latents("moments.safetensors"),
        volumes=results("preprocessed/volumes.tsv"),
        splits=results("data/splits.tsv"),
    output:
        rows=results("evaluation/neighbours/real.csv"),
    log:
        results("logs/neighbours/real.log"),
    benchmark:
        results("logs/neighbours/real.benchmark.tsv")
    params:
        settings=lambda _: settings_of("neighbours"),
        samples="",
        measured=rules.neighbours.params.measured,
        code=lambda _: code_of("neighbours"),
    message:
        "Nearest training scans of the scans of validation and test"


rule memorisation:
    input:
        real=results("evaluation/neighbours/real.csv"),
        samples=results("evaluation/neighbours/{asked}/{generator}.csv"),
    output:
        audit=results("evaluation/memorisation/{asked}/{generator}.csv"),
    log:
        results("logs/memorisation/{asked}/{generator}.log"),
    benchmark:
        results("logs/memorisation/{asked}/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda _: settings_of("memorisation"),
        samples=lambda _, input: option("samples", [input.samples]),
        code=lambda _: code_of("memorisation"),
    message:
        "Are {wildcards.asked} of {wildcards.generator} copies of training scans?"
    shell:
        "wfdm memorisation --settings {params.settings:q} --real {input.real:q} {params.samples} "
        "--out {output.audit:q} 2>&1 | tee {log:q}"


use rule memorisation as memorisation_floor with:
    input:
        real=results("evaluation/neighbours/real.csv"),
    output:
        audit=results("evaluation/memorisation/validation.csv"),
    log:
        results("logs/memorisation/validation.log"),
    benchmark:
        results("logs/memorisation/validation.benchmark.tsv")
    params:
        settings=lambda _: settings_of("memorisation"),
        samples="",
        code=lambda _: code_of("memorisation"),
    message:
        "Are validation scans copies of training scans? The floor of table A3"


rule membership:
    input:
        model=results("denoisers/{denoiser}/model.safetensors"),
        config=results("denoisers/{denoiser}/config.json"),
        standard=results("denoisers/{denoiser}/standard.safetensors"),
        latents=latents_of("scale.json"),
        index=latents_of("index.tsv"),
        scans=results("data/scans.tsv"),
        splits=results("data/splits.tsv"),
    output:
        scans=results("evaluation/membership/{denoiser}.csv"),
        auc=results("evaluation/membership/{denoiser}_auc.csv"),
    log:
        results("logs/membership/{denoiser}.log"),
    benchmark:
        results("logs/membership/{denoiser}.benchmark.tsv")
    wildcard_constraints:
        denoiser="|".join([*study.denoisers, *study.distilled]) or "none",
    threads: 1
    resources:
        mem_mb=more(32000),
        runtime=more(480),
        gpu=1,
    params:
        settings=lambda wildcards: settings_of(
            "membership", denoiser=wildcards.denoiser
        ),
        code=lambda wildcards: code_denoised("membership", wildcards.denoiser),
    message:
        "Does the loss of {wildcards.denoiser} tell its training scans?"
    shell:
        "WFDM_GPUS={resources.gpu} wfdm membership --settings {params.settings:q} "
        "--model {input.model:q} --latents {input.latents:q} --scans {input.scans:q} "
        "--splits {input.splits:q} --threads {threads} --out {output.scans:q} 2>&1 | tee {log:q}"


rule planted:
    input:
        asked=results("evaluation/neighbours/samples_training/{generator}.csv"),
        losses=lambda wildcards: results(
            f"evaluation/membership/{DENOISED_BY[wildcards.generator]}.csv"
        ),
        latents=audited_latents("scale.json"),
        index=audited_latents("index.tsv"),
        splits=results("data/splits.tsv"),
    output:
        rows=results("evaluation/memorisation/{generator}_planted.csv"),
    log:
        results("logs/planted/{generator}.log"),
    benchmark:
        results("logs/planted/{generator}.benchmark.tsv")
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wildcards: settings_of(
            "planted", denoiser=DENOISED_BY[wildcards.generator]
        ),
        code=lambda _: code_of("planted"),
    message:
        "Search {wildcards.generator} for planted training scans"
    shell:
        "wfdm planted --settings {params.settings:q} --asked {input.asked:q} "
        "--losses {input.losses:q} --latents {input.latents:q} --splits {input.splits:q} "
        "--out {output.rows:q} 2>&1 | tee {log:q}"
