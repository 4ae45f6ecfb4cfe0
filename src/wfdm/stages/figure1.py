"""Figure 1 of the paper: the configured compressor and denoiser, with their true shapes.

The shapes are read off a pass through the models, so the figure follows the settings.
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Picture

Settings = reads(
    "volume.shape",
    "compressors.{compressor}.architecture",
    "denoisers.{denoiser}.network",
    "generators.{generator}.steps",
    "figures.dpi",
)


def run(
    settings: Any,
    compressor: Annotated[str, "What the compressor is called."],
    generator: Annotated[str, "What the generator is called."],
    out: Picture,
) -> None:
    """Write the PDF and the PNG."""
    from wfdm.figures.architecture import System, figure1

    with recorded("figure1", out, settings, []) as record:
        record.settings |= {"labels": {"compressor": compressor, "generator": generator}}
        system = System(
            compressor=compressor,
            architecture=settings.architecture,
            generator=generator,
            network=settings.network,
            steps=settings.steps,
            shape=settings.shape,
        )
        record.outputs = list(figure1(system, out.with_suffix(""), settings.dpi))
