# Functions that give rules their inputs and parameters, in the order of the rules.

from wfdm.config.distilled import denoiser_of


def raw_stamps():
    """Return a digest per shard of its raw files and exclusions."""
    try:
        return plan.raw_stamps(study, Path(results("data/scans.tsv")))
    except UserError as error:
        raise WorkflowError(str(error)) from None


def source_folders(_):
    """Return no file; stop where a source's data is missing, and say what to place where."""
    if told := plan.missing_source(study):
        raise WorkflowError(told)
    return []


def extraction_weights(_):
    """Return the brain extractor's weights where a source has raw scans."""
    return assets(study.preprocess.weights) if plan.needs_extractor(study) else []


def exclusion_file(_):
    """Return the exclusion file where there is one."""
    return [path for path in [study.quality.exclusions] if Path(path).is_file()]


def training_of(wildcards):
    """Return how a compressor is trained; None for fixed and pretrained ones."""
    return study.compressors[wildcards.compressor].training


def pretrained_weights(wildcards):
    """Return the published weights of a compressor, where it has some."""
    name = study.compressors[wildcards.compressor].pretrained
    return [asset(name)] if name else []


def perceptual_weights(wildcards):
    """Return the weights of the perceptual network, where it has an asset."""
    training = training_of(wildcards)
    return assets(training.perceptual.assets) if training else []


def compressor_of(row):
    """Return the compressor that a denoiser, or decoded noise, works with.

    Raises WorkflowError where its weights are not placed.
    """
    if row.compressor in ABSENT:
        raise WorkflowError(
            f"compressor '{row.compressor}' is needed, but {ABSENT[row.compressor]} is not placed"
        )
    return row.compressor


def latents_of(path):
    """Return an input function: a file of the latents that a denoiser models."""
    return lambda wildcards: results(
        f"latents/{compressor_of(denoiser_of(study, wildcards.denoiser))}/{path}"
    )


def completed_by(path):
    """Return an input function: a file of the denoiser that a completion controls."""
    return lambda wildcards: results(
        f"denoisers/{study.completions[wildcards.completion].denoiser}/{path}"
    )


def latents_completed(path):
    """Return an input function: a file of the latents that a completion works on."""
    return lambda wildcards: results(
        f"latents/{compressor_of(denoiser_completed(wildcards))}/{path}"
    )


def denoiser_completed(wildcards):
    """Return the row of the denoiser that a completion controls."""
    return study.denoisers[study.completions[wildcards.completion].denoiser]


def compressor_completed(wildcards):
    """Return the weights of the compressor whose latents a completion works on."""
    return results(
        f"compressors/{compressor_of(denoiser_completed(wildcards))}/model.safetensors"
    )


def plain_unet_of(wildcards):
    """Return the plain U-Net beside a completion, where one is asked for."""
    asked = study.completions[wildcards.completion].unet
    path = results(f"completions/{wildcards.completion}/unet/model.safetensors")
    return [path] if asked else []


def phantom_lesions_of(wildcards):
    """Return the table of the phantoms' lesion masks, where a completion is judged inside them."""
    folder = study.completions[wildcards.completion].lesions
    path = results("phantom/lesions/masks.tsv")
    return [path] if folder and Path(folder) == Path(path).parent else []


def code_sampled(stage, row):
    """Return the code of a stage that makes latents or volumes with a denoiser, given its row."""
    parts = [row.network.implementation, row.process.implementation]
    return code_of(stage, architecture(compressor_of(row)), *parts)


def teacher_of(denoiser):
    """Return the row of `denoisers` that has a denoiser's network: its own, or its teacher's."""
    student = study.distilled.get(denoiser)
    return student.denoiser if student else denoiser


def taught_by(path):
    """Return an input function: a file of a student's teacher."""
    return lambda wildcards: results(
        f"denoisers/{teacher_of(wildcards.distilled)}/{path}"
    )


def compressed_as(path):
    """Return an input function: a file of the compressor, or latents, of a student's teacher."""
    return lambda wildcards: results(
        path.format(compressor_of(denoiser_of(study, wildcards.distilled)))
    )


def code_denoised(stage, denoiser):
    """Return the code of a stage that asks a denoiser, without its compressor's."""
    row = denoiser_of(study, denoiser)
    return code_of(stage, row.network.implementation, row.process.implementation)


def source_of(wildcards):
    """Return what a generator is made of: a model, latents' space, or what a reference shows."""
    row = study.generators[wildcards.generator]
    if row.kind == "diffusion":
        return results(f"denoisers/{row.denoiser}/model.safetensors")
    if row.kind == "gan":
        return results(f"gans/{row.gan}/model.safetensors")
    if row.kind == "noise":
        return results(f"latents/{compressor_of(row)}/scale.json")
    if row.kind == "reconstruction":
        return results(f"compressors/{compressor_of(row)}/model.safetensors")
    if row.kind == "mean":
        return results("evaluation/mean_volumes.safetensors")
    if row.kind == "real":
        return results("preprocessed/volumes.tsv")
    return asset(row.weights) if isinstance(row, PublishedSystem) else row.table


def models_of(wildcards):
    """Return what else a generator works with: models, other weights, or masks."""
    row = study.generators[wildcards.generator]
    if isinstance(row, PublishedSystem):
        masks = [path for folder in row.needs for path in listed(folder)]
        return assets(row.assets[1:]) + masks
    made = denoiser_of(study, row.denoiser) if row.kind == "diffusion" else row
    if row.kind in ("gan", "folder", "real", "mean"):
        return []
    return [results(f"compressors/{compressor_of(made)}/model.safetensors")]


def timed_weights(wildcards):
    """Return the weights of a published system, its network's first, and masks, or of a GAN.

    A denoiser is timed with random ones.
    """
    row = study.generators[wildcards.generator]
    if not (isinstance(row, PublishedSystem) or row.kind == "gan"):
        return []
    return [source_of(wildcards), *models_of(wildcards)]


def code_of_made(stage, wildcards):
    """Return the code that a generator's volumes depend on, in a stage that makes them."""
    row = study.generators[wildcards.generator]
    made, parts = row, []
    if row.kind == "diffusion":
        made = denoiser_of(study, row.denoiser)
        parts = [made.network.implementation, made.process.implementation]
    if row.kind in ("diffusion", "noise", "reconstruction"):
        parts.append(architecture(compressor_of(made)))
    return code_of(stage, row.implementation, *parts)


def parts_of(wildcards):
    """Return the names of a generator's row, and of its denoiser and compressor if it has them."""
    name = wildcards.generator
    row, found = study.generators[name], {"generator": name}
    if row.kind == "diffusion":
        found["denoiser"] = teacher_of(
            row.denoiser
        )  # no time depends on what a student learned
        row = study.denoisers[found["denoiser"]]
    if hasattr(row, "compressor"):
        found["compressor"] = compressor_of(row)
    return found


def described_by(generator):
    """Return the file that says which modalities a generator makes, or its published weights."""
    row = study.generators[generator]
    if isinstance(row, PublishedSystem):
        return asset(row.weights)
    if row.kind == "diffusion":
        return results(f"denoisers/{row.denoiser}/config.json")
    if row.kind == "gan":
        return results(f"gans/{row.gan}/config.json")
    return row.table


def latents_behind(generators):
    """Yield each generator of a denoiser, and the name of the compressor that this works with."""
    for name in generators:
        row = study.generators[name]
        if row.kind == "diffusion":
            yield name, denoiser_of(study, row.denoiser).compressor


def domain_of(compressor):
    """Return what a compressor leaves as it is, in table 2's words; "" where it makes latents."""
    return getattr(study.compressors[compressor].architecture, "domain", "")


def modelled_by(generators):
    """Return the options that say what the generators of a denoiser work in."""
    made = list(latents_behind(generators))
    latents = [
        f"{name}={label_of('compressors', compressor)}"
        for name, compressor in made
        if not domain_of(compressor)
    ]
    domains = [
        f"{name}={domain_of(compressor)}"
        for name, compressor in made
        if domain_of(compressor)
    ]
    return " ".join(
        filter(None, [option("latents", latents), option("domain", domains)])
    )


def labels(section, names):
    """Return `--label name=label` for each row of a section."""
    rows = getattr(study, section)
    return option("label", [f"{name}={rows[name].label or name}" for name in names])


def audits_of(names):
    """Return the audits of memorisation of some generators, where the study has them."""
    return [AUDITS[name] for name in names if name in AUDITS]


def with_audits(note, names):
    """Return a table's note as options, and what its rows' audits of memorisation are."""
    told = [f"{name}={AUDITS[name]}" for name in names if name in AUDITS]
    return " ".join([note, *([option("memorisation", told)] if told else [])])


def audit_labels():
    """Return what the rows of table A3 are called."""
    called = {name: label_of("generators", name) for name in MODELLED}
    for name in ASKED:
        called[f"{name}.training"] = (
            f"{label_of('generators', name)}, asked for training scans"
        )
    called |= {
        f"{name}.training": "Training scans through the compressor (ceiling)"
        for name in KNOWN
    }
    called["validation"] = "Validation scans (floor)"
    return option("label", [f"{name}={called[name]}" for name in AUDITS])


def audited_latents(path):
    """Return a file of the latents that the audit compares in."""
    return (
        results(f"latents/{study.memorisation.compressor}/{path}")
        if study.memorisation
        else []
    )


def rows(section, files):
    """Return the options of a table's rows: which file, and what the row is called."""
    given = option("row", [f"{name}={path}" for name, path in files.items()])
    return f"{given} {labels(section, files)}"


def scheduled(files):
    """Return the options of table 5's rows: which file, and what a reference is called."""
    given = option("row", [f"{key}={path}" for key, path in files.items()])
    return f"{given} {labels('generators', [key for key in files if key not in study.schedulers])}"


def drawn_again():
    """Return the options of the table of draws: which file, whose draw, what a model is called."""
    names = [name for family in DRAWS.values() for name in family]
    rows = option("row", [f"{name}={SYNTHESES[name]}" for name in names])
    of = option(
        "of", [f"{n}={model}" for model, family in DRAWS.items() for n in family]
    )
    return f"{rows} {of} {labels('generators', DRAWS)}"


def columns(section, files):
    """Return the options of a figure's columns: which file, and what the column is called."""
    given = option("column", [f"{name}={path}" for name, path in files.items()])
    return f"{given} {labels(section, files)}"


def label_of(section, name):
    """Return what a row is called where it stands alone."""
    return getattr(study, section)[name].label or name


def drawn():
    """Return the rows that figure 1 shows, by what each of them is."""
    generator = study.figures.generator
    denoiser = teacher_of(study.generators[generator].denoiser)
    compressor = study.denoisers[denoiser].compressor
    return {"generator": generator, "denoiser": denoiser, "compressor": compressor}


def page_of(path, caption, category, **labels):
    """Return the page of a table, or of what its path names, marked for the report."""
    return report(
        results(f"pages/{Path(path).stem}.html"),
        caption=f"../report/{caption}.rst",
        category=category,
        labels=labels,
    )


def numbered_page(key):
    """Return the page of a table or figure of the paper; the report sorts numbers as text."""
    kind = key.rstrip("0123456789")
    number = key.removeprefix(kind)
    caption = CAPTIONS.get(key, key)
    labels = {kind: f"{number:>2}", "content": WORDS[key]}
    return page_of(key, caption, f"{kind.capitalize()}s", **labels)
