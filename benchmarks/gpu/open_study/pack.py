"""Pack the standardised volumes of a study into one file that a lent machine can train on.

    PYTHONPATH=src python -m benchmarks.gpu.open_study.pack --out open-2mm.npz

The file holds, for each scan, the volume that models see (`load_standardised`) as 8-bit numbers,
cut to the brain's box and compressed with LZMA, its scan_id, person, modality, split, and its 25
metadata values with their mask (`encode`, statistics of the training split).
"""

import argparse
import json
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LEVELS = 255
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


@dataclass(frozen=True)
class Pack:
    """What a pack holds; row i of everything is scan i.

    Attributes:
        volumes: (n, R, A, S) uint8, 255 is 1.
        scan_ids: of the scans.
        persons: one name per human being.
        modalities: (n,) integers, places in `wfdm.data.table.MODALITIES`.
        splits: "train", "validation" or "test".
        values: (n, 25) float32 metadata values.
        mask: (n, 25) float32, 1 where a value is recorded.
        about: spacing, statistics of the numeric fields, loss of the rounding.
    """

    volumes: np.ndarray
    scan_ids: list[str]
    persons: list[str]
    modalities: np.ndarray
    splits: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    about: dict

    def every(self, step: int) -> "Pack":
        """Return each `step`-th scan."""
        parts = {name: value[::step] for name, value in vars(self).items() if name != "about"}
        return Pack(**parts, about=self.about)


def compress(volume: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return the bytes of a uint8 volume's box of non-zero voxels, and the box (3, 2)."""
    places = [
        np.flatnonzero(volume.any(axis=tuple(a for a in range(3) if a != axis)))
        for axis in range(3)
    ]
    box = np.array([[p[0], p[-1] + 1] if len(p) else [0, 0] for p in places])
    inside = np.ascontiguousarray(volume[tuple(slice(*side) for side in box)])
    return lzma.compress(inside.tobytes(), format=lzma.FORMAT_RAW, filters=FILTERS), box


def expand(content: bytes, box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo `compress`."""
    inside = lzma.decompress(content, format=lzma.FORMAT_RAW, filters=FILTERS)
    volume = np.zeros(shape, np.uint8)
    sides = tuple(slice(*side) for side in box)
    volume[sides] = np.frombuffer(inside, np.uint8).reshape(volume[sides].shape)
    return volume


def read_pack(path: Path) -> Pack:
    """Read what `main` wrote."""
    with np.load(path, allow_pickle=False) as held:
        about = json.loads(str(held["about"]))
        content, ends = held["content"].tobytes(), held["ends"].tolist()
        starts = [0, *ends[:-1]]
        volumes = [
            expand(content[start:end], box, tuple(about["shape"]))
            for start, end, box in zip(starts, ends, held["boxes"], strict=True)
        ]
        return Pack(
            np.stack(volumes),
            held["scan_ids"].tolist(),
            held["persons"].tolist(),
            held["modalities"],
            held["splits"],
            held["values"],
            held["mask"],
            about,
        )


def gather(config: Path, overlay: Path) -> tuple[list[dict], dict]:
    """Return one entry per preprocessed scan, with its float volume's rounded copy, and `about`."""
    import pandas as pd
    import yaml

    from wfdm.config.volumes import VolumeSettings
    from wfdm.data.metadata import encode, read_statistics
    from wfdm.data.table import MODALITY_IDS, read_table, rows_of, with_split
    from wfdm.data.volumes import load_standardised

    settings = yaml.safe_load(config.read_text()) | yaml.safe_load(overlay.read_text())
    root = Path(settings["results"])
    volume = VolumeSettings.model_validate(settings["volume"])
    scans = read_table(root / "data/scans.tsv").drop(columns=["path", "modality"])
    volumes = with_split(
        read_table(root / "preprocessed/volumes.tsv"), read_table(root / "data/splits.tsv")
    )
    keep = [name for name in scans if name == "scan_id" or name not in volumes]
    table: pd.DataFrame = volumes.merge(scans[keep], on="scan_id").sort_values("scan_id")
    statistics = read_statistics(root / "data/metadata_statistics.json")
    entries, errors, squares, voxels, brain = [], [], 0.0, 0, 0
    for row in rows_of(table):
        real = load_standardised(row["path"], volume)[0]
        rounded = np.round(real * LEVELS).astype(np.uint8)
        difference = rounded / np.float32(LEVELS) - real
        inside = real > 0
        errors.append(float(np.abs(difference).max()))
        squares += float(np.square(difference[inside], dtype=np.float64).sum())
        brain += int(inside.sum())
        voxels += real.size
        values, mask = encode(row, statistics)
        entries.append(
            {
                "scan_id": row["scan_id"],
                "person": row["person"],
                "modality": MODALITY_IDS[row["modality"]],
                "split": row["split"],
                "values": values,
                "mask": mask,
                "volume": rounded,
            }
        )
    about = {
        "study": settings["study"],
        "shape": list(volume.shape),
        "spacing": settings["preprocess"]["spacing"],
        "statistics": {name: list(pair) for name, pair in statistics.items()},
        "rounding": {
            "scans": len(entries),
            "largest_error": max(errors),
            "rms_error_in_brain": (squares / brain) ** 0.5,
            "psnr_whole_volume_db": float(10 * np.log10(voxels / squares)),
        },
    }
    return entries, about


def main() -> None:
    """Write the pack and tell its size and loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--config", type=Path, default=Path("benchmarks/gpu/open_study/open.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    entries, about = gather(chosen.base, chosen.config)
    parts, boxes = zip(*(compress(entry["volume"]) for entry in entries), strict=True)
    named = {
        name: np.array([entry[name] for entry in entries])
        for name in ("modality", "split", "values", "mask")
    }
    np.savez(
        chosen.out,
        content=np.frombuffer(b"".join(parts), np.uint8),
        ends=np.cumsum([len(part) for part in parts]),
        boxes=np.stack(boxes),
        scan_ids=np.array([entry["scan_id"] for entry in entries]),
        persons=np.array([entry["person"] for entry in entries]),
        modalities=named["modality"].astype(np.int64),
        splits=named["split"],
        values=named["values"],
        mask=named["mask"],
        about=np.array(json.dumps(about)),
    )
    again = read_pack(chosen.out)
    assert all(np.array_equal(a, e["volume"]) for a, e in zip(again.volumes, entries, strict=True))
    print(json.dumps(about["rounding"]))
    print(f"{chosen.out}: {len(entries)} scans, {chosen.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
