"""The arguments that stages share: the type of each and, in words, what it is."""

from pathlib import Path
from typing import Annotated


class Positional(str):
    """The words about an argument that is given by its place, not by its name."""


Scans = Annotated[Path, "Scan table (data/scans.tsv)."]
Splits = Annotated[Path, "Split table (data/splits.tsv)."]
Volumes = Annotated[Path, "Table of volumes: scan_id, modality, path, sha256."]
Compressor = Annotated[Path, "model.safetensors of the compressor."]
Denoiser = Annotated[Path, "model.safetensors of the denoiser."]
Latents = Annotated[Path, "scale.json of the latents."]
Statistics = Annotated[Path, "Metadata statistics (JSON)."]
Lpips = Annotated[list[Path] | None, "Backbone of LPIPS, then its heads."]
Published = Annotated[Path, "The paper's table, as CSV."]
Row = Annotated[list[str], "NAME=FILE; once for each row."]
Column = Annotated[list[str], "NAME=FILE; once for each column."]
Label = Annotated[
    list[str] | None, "NAME=LABEL; how a row or column is called, by default by its name."
]
Note = Annotated[str, "How this study differs from the paper."]
Start = Annotated[
    Path | None,
    "Begin with these weights: a trained model's folder, or a safetensors file.",
]
Out = Annotated[Path, "The file to make."]
Picture = Annotated[Path, "The PDF to make; a PNG is written beside it."]
Threads = Annotated[int, "CPU threads; results may differ by it."]
Processes = Annotated[int, "Items worked on side by side; no result depends on it."]
Workers = Annotated[int, "Loading processes."]
Shard = Annotated[int, "Number of this shard, from 0."]
Shards = Annotated[int, "Number of shards in all."]
Logs = Annotated[Path, "Folder of the sessions' logs."]
Only = Annotated[list[str] | None, "Key of a session; once for each, where not all are wanted."]
Exclusions = Annotated[Path | None, "Exclusion file: key and reason; it need not be there."]
SessionTables = Annotated[list[Path], "A shard's table of preprocessed sessions; once for each."]
