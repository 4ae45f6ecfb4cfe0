"""The committed closures: which modules each stage's numbers depend on.

`python -m tests.unit.closures` writes closures.txt again, after an intended change.
"""

from pathlib import Path

from wfdm.cli.commands import stage_modules
from wfdm.config.study import Study
from wfdm.provenance.fingerprints import closure

COMMITTED = Path(__file__).with_suffix(".txt")


def used() -> dict[str, list[str]]:
    """Return what stages import by name, with the study's own models."""
    study = Study()
    denoiser, generator = study.denoisers["wfdm"], study.generators["wfdm"]
    compressor = study.compressors[denoiser.compressor]
    architecture = [compressor.architecture.implementation]
    trained = [denoiser.network.implementation, denoiser.process.implementation]
    return {
        "train-compressor": compressor.implementations,
        "encode": architecture,
        "reconstruction": architecture,
        "train-denoiser": trained,
        "distil": trained,
        "pairs": [*trained, *architecture],
        "endpoints": [*trained, *architecture],
        "train-completion": trained,
        "train-plain-unet": trained,
        "membership": trained,
        "complete-cohort": [*trained, *architecture],
        "completion-metrics": architecture,
        "sample-test": [generator.implementation, *trained, *architecture],
        "controlled": [generator.implementation, *trained, *architecture],
        "figure2": architecture,
        "benchmark": [generator.implementation, *trained, *architecture],
    }


def closures() -> dict[str, list[str]]:
    """Return the closure of every stage that keeps a record of what it makes."""
    models = used()
    return {
        name: closure(module.__name__, *models.get(name, []))
        for name, module in stage_modules().items()
        if hasattr(module, "recorded")
    }


def text() -> str:
    """Return the closures as the file holds them: a stage, its length, its modules."""
    parts = (
        "\n".join([f"{name}: {len(found)}", *(f"  {module}" for module in found)])
        for name, found in closures().items()
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    COMMITTED.write_text(text(), encoding="utf-8")
