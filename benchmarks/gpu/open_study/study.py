"""The study itself: every part in order, what it finds, and its pictures."""

import argparse
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.open_study import compressor as stage_a
from benchmarks.gpu.open_study import denoiser as stage_b
from benchmarks.gpu.open_study import latents, reconstructions
from benchmarks.gpu.open_study import samples as judged
from benchmarks.gpu.open_study.data import load
from benchmarks.gpu.open_study.learner import SEED, measuring
from benchmarks.gpu.open_study.output import Clock, Output, plain, versions
from benchmarks.gpu.open_study.pack import read_pack
from wfdm.atomic import atomic_path
from wfdm.config.denoisers import UNetSettings
from wfdm.data.metadata import age_group_of
from wfdm.data.table import MODALITIES
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "compressor": {"channels": (16, 16), "wavelet_channels": 16, "norm_groups": 8},
        "unet": {"channels": (16, 32), "attention": (False, True), "norm_groups": 8},
    },
    "small": {  # 2.5 and 4.0 million parameters
        "compressor": {"channels": (48, 64), "wavelet_channels": 32, "norm_groups": 16},
        "unet": {"channels": (48, 64, 64), "attention": (False, False, True), "norm_groups": 16},
    },
    "medium": {  # 4.7 and 6.1 million parameters
        "compressor": {"channels": (48, 96), "wavelet_channels": 32, "norm_groups": 16},
        "unet": {"channels": (48, 64, 96), "attention": (False, False, True), "norm_groups": 16},
    },
}
LAST = 40  # seconds kept for sampling, measuring and pictures after the first denoiser
AGES = (20, 45, 75)


class Study:
    """The whole run; each part notes what it finds, and none stops the next that can go on."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.out = Output(chosen.out, Clock(chosen.budget))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.amp = chosen.amp == "on" or (chosen.amp == "auto" and self.device.type == "cuda")
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        self.out.note(command=vars(chosen), seed=SEED, hardware=versions(), errors=[])
        self.pack = read_pack(chosen.pack).every(chosen.every)
        self.data = load(self.pack, self.device, chosen.reduced)
        self.groups: dict[str, list[tuple[str, np.ndarray]]] = {"mosaic_t1w": [], "mosaic_more": []}
        self.arrays: dict[str, np.ndarray] = {}
        self._note_data()

    def _note_data(self) -> None:
        data = self.data
        counts = {
            name: {
                modality: int((data.modalities[rows] == index).sum())
                for index, modality in enumerate(MODALITIES)
            }
            for name, rows in data.split.items()
        }
        shape = list(data.volumes.shape[2:])
        self.spacing = float(self.pack.about["spacing"]) * (2 if self.chosen.reduced else 1)
        self.out.note(
            data={
                "scans": len(data.scan_ids), "people": len(set(data.persons)), "shape": shape,
                "spacing_mm": self.spacing, "by_split": counts, "pack": self.pack.about,
            }
        )  # fmt: skip
        self.out.tell(f"{len(data.scan_ids)} scans of {shape} on {self.device}: {counts}")

    def part(self, name: str, what: Callable[[], None]) -> None:
        """Do one part; an error is noted, with its trace, and the next part begins."""
        start = self.out.clock.elapsed
        try:
            what()
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, flush=True)
            self.out.results["errors"].append({"part": name, "error": str(error), "trace": trace})
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        seconds = self.out.clock.elapsed - start
        self.out.note(**{f"seconds_{name}": seconds})
        self.out.tell(f"{name}: {seconds:.1f} s")

    def run(self) -> None:
        """Do everything in order."""
        self.part("compressor", self.compressor)
        self.part("reconstructions", self.reconstructions)
        self.part("encode", self.encode)
        self.part("denoiser", self.denoiser)
        self.part("samples", self.samples)
        self.part("answers", self.answers)
        self.part("other_space", self.other_space)
        self.part("pictures", self.pictures)
        self.out.flush()

    def compressor(self) -> None:
        """Train stage A."""
        chosen = self.chosen
        settings = stage_a.Settings(
            **SIZES[chosen.size]["compressor"],
            seconds=min(chosen.stage_a, 0.45 * chosen.budget),
            batch_size=chosen.batch_a,
            amp=self.amp,
            adversarial_weight=chosen.adversarial,
        )
        self.start = stage_a.build(settings, self.device).eval()
        self.training_a = stage_a.Training(settings, self.data, self.out)
        self.model = self.training_a.learner.average  # what there is if training breaks
        self.model = self.training_a.run()

    def reconstructions(self) -> None:
        """Measure reconstructions against what needs no training."""
        rows = reconstructions.floors_and_test(self.model, self.start, self.data)
        self.out.note(reconstruction=rows)
        for row in rows:
            if row["split"] == "test":
                self.out.tell(str(plain(row)))
        del self.training_a
        for index, name in enumerate(MODALITIES):
            chosen = judged.rows_of(self.data, "test", index)
            if not len(chosen):
                chosen = judged.rows_of(self.data, "train", index)[:2]
            real = self.data.real(chosen)
            fake = reconstructions.reconstruct(self.model, real)
            own = judged.to_bytes(real), judged.to_bytes(fake)
            group = self.groups["mosaic_t1w" if index == 0 else "mosaic_more"]
            most = 8 if index == 0 else 2
            for kind, volumes in zip(("real", "reconstruction"), own, strict=True):
                self._keep(f"{name}_{kind}", volumes)
                group.append((f"{name}, {kind}", volumes[:most]))
        self.pictures()

    def _keep(self, name: str, volumes: np.ndarray, whole: int = 0) -> None:
        """Keep middle slices of all, and some whole volumes, for the file of arrays."""
        for plane, slices in judged.middle_slices(volumes).items():
            self.arrays[f"{name}_{plane}"] = slices
        if whole:
            self.arrays[f"{name}_volumes"] = volumes[:whole]

    def encode(self) -> None:
        """Encode every scan and describe the latent space."""
        self.latents = latents.encode(self.model, self.data)
        found = latents.statistics(self.latents, self.data)
        self.out.note(latents=found)
        self.out.tell(f"latents: {plain(found)}")

    def _training(self, kind: str, seconds: float) -> stage_b.Training:
        chosen = self.chosen
        size = SIZES[chosen.size]["unet"]
        head = min(32, size["channels"][-1])
        unet = UNetSettings(
            **size, res_blocks=1, head_channels=head, metadata_width=4 * size["channels"][0]
        )
        settings = stage_b.Settings(unet, seconds, chosen.batch_b, self.amp)
        statistics = self.pack.about["statistics"]
        return stage_b.Training(settings, kind, self.latents, self.data, self.out, statistics)

    def denoiser(self) -> None:
        """Train stage B on centred latents."""
        seconds = min(self.chosen.stage_b, self.out.clock.left - LAST)
        self.training_b = self._training("centred", max(5.0, seconds))
        self.training_b.run(schedule_steps=None, keep=True)

    def requests(self, modality: int, count: int) -> tuple[list[str], Conditions]:
        """Return names and conditions: those of test scans in turn, else of others held out."""
        data = self.data
        for split in ("test", "held_out", "train"):
            rows = judged.rows_of(data, split, modality)
            if len(rows) > 1 or (split == "train" and len(rows)):
                break
        rows = rows[torch.arange(count, device=rows.device) % len(rows)]
        names = [f"{data.scan_ids[row]}#{number}" for number, row in enumerate(rows.tolist())]
        return names, data.conditions[rows]

    def _describe(
        self, training: stage_b.Training, model: Denoiser, modality: int, count: int
    ) -> dict:
        """Sample one modality and return what the samples are; keeps their volumes."""
        data, name = self.data, MODALITIES[modality]
        names, conditions = self.requests(modality, count)
        z = training.sample(model, names, conditions, self.chosen.steps)
        volumes = self._decoded(z)
        held, fit = (judged.rows_of(data, split, modality) for split in ("held_out", "train"))
        persons = [data.persons[row] for row in fit.tolist()]
        places = torch.isin(data.split["train"], fit)
        latent = judged.nearest(
            z, self.latents.plain[held], self.latents.plain[fit],
            self.latents.training[1][places], persons,
        )  # fmt: skip
        rebuilt = {part: self._decoded(self.latents.plain[r]) for part, r in
                   (("held_out", held), ("train", fit))}  # fmt: skip
        mirrored = self._decoded(self.latents.training[1][places])
        image = judged.nearest(volumes, rebuilt["held_out"], rebuilt["train"], mirrored, persons)
        appearance = {"samples": judged.looks(volumes, self.spacing)}
        if len(held):
            appearance["held_out_real"] = judged.looks(data.real(held), self.spacing)
            appearance["held_out_reconstructed"] = judged.looks(rebuilt["held_out"], self.spacing)
        appearance["train_real"] = judged.looks(data.real(fit), self.spacing)
        mean = rebuilt["train"].mean(0)
        appearance["rms_of_mean_sample_from_mean_training"] = float(
            (volumes.mean(0) - mean).square().mean().sqrt()
        )
        self.volumes_of = judged.to_bytes(volumes)
        return {"modality": name, "n": count, "latent": latent, "image": image,
                "appearance": appearance}  # fmt: skip

    @measuring()
    def _decoded(self, latents: Tensor) -> Tensor:
        if not len(latents):
            return torch.zeros(0, *self.data.volumes.shape[1:], device=self.device)
        parts = [self.model.decode(part).clamp(0, 1) for part in latents.split(4)]
        return torch.cat(parts)

    def samples(self) -> None:
        """Sample every modality with the newest average, and T1w with the best one too."""
        found: list[dict] = []
        last = self.training_b.learner.average
        for index, name in enumerate(MODALITIES):
            if not len(judged.rows_of(self.data, "train", index)):
                continue
            many = len(judged.rows_of(self.data, "train", index)) >= 10
            count = self.chosen.samples if many else max(2, self.chosen.samples // 4)
            found.append({"weights": "last"} | self._describe(self.training_b, last, index, count))
            self._keep(f"{name}_sample", self.volumes_of, whole=8 if index == 0 else 3)
            group = self.groups["mosaic_t1w" if index == 0 else "mosaic_more"]
            group.append((f"{name}, samples", self.volumes_of[: 16 if index == 0 else 4]))
            self.out.note(samples=found)
            self.out.tell(f"samples: {plain(found[-1])}")
        self.pictures()
        best, steps = self.training_b.best[1], self.training_b.learner.steps
        if best < 0.9 * steps:
            model = self.training_b.best_model()
            row = self._describe(self.training_b, model, 0, self.chosen.samples)
            found.append({"weights": f"best, step {best}"} | row)
            self.groups["mosaic_more"].append((f"T1w, weights of step {best}", self.volumes_of[:4]))
            self.out.note(samples=found)
            self.out.tell(f"samples: {plain(found[-1])}")

    def answers(self) -> None:
        """Ask with equal noise for several modalities and ages: does the model obey?"""
        statistics = {k: tuple(v) for k, v in self.pack.about["statistics"].items()}
        pairs = [(m, 30) for m in range(len(MODALITIES))] + [(0, age) for age in AGES]
        wanted = [
            (m, {"age": str(age), "age_group": age_group_of(str(age)), "sex": "female"})
            for m, age in pairs
        ]
        people = 4
        names = [f"answer#{person}" for person in range(people) for _ in wanted]
        asked = [MODALITIES[m] for m, _ in wanted], [row for _, row in wanted]
        conditions = Conditions.of(*(part * people for part in asked), statistics).to(self.device)
        z = self.training_b.sample(
            self.training_b.learner.average, names, conditions, self.chosen.steps
        )
        volumes = self._decoded(z).unflatten(0, (people, len(wanted)))
        rows = []
        for place, (m, row) in enumerate(wanted):
            own = volumes[:, place]
            change = (own - volumes[:, 0]).square().mean().sqrt()
            looks = judged.looks(own, self.spacing)
            rows.append(
                {"modality": MODALITIES[m], **row, "rms_from_T1w_30": float(change), **looks}
            )
        self.out.note(answers=rows)
        self.out.tell(f"answers: {plain(rows)}")
        pictures = judged.to_bytes(volumes[:2].flatten(0, 1))
        heading = "one noise a row: T1w T2w T1Gd FLAIR at 30 years, then T1w at " + ", ".join(
            map(str, AGES)
        )
        for person in range(2):
            own = pictures[person * len(wanted) : (person + 1) * len(wanted)]
            self.groups["mosaic_more"].append((heading, own[:4]))
            self.groups["mosaic_more"].append(("", own[4:]))
        self.pictures()

    def other_space(self) -> None:
        """Train again on latents that are only scaled; the rate falls as in the first run."""
        seconds = min(self.chosen.second, self.out.clock.left - LAST / 2)
        if seconds < min(10.0, self.chosen.second):
            self.out.note(other_space="left out, no time")
            return
        steps = self.training_b.learner.steps
        training = self._training("scale", seconds)
        training.run(schedule_steps=steps, keep=False)
        row = self._describe(
            training, training.learner.average, 0, max(2, self.chosen.samples // 2)
        )
        self.out.note(samples_scale=row)
        self.out.tell(f"samples of the other space: {plain(row)}")
        self.groups["mosaic_more"].append(
            ("T1w, samples of latents only scaled", self.volumes_of[:4])
        )

    def pictures(self) -> None:
        """Draw what there is so far, and keep the arrays."""
        for name, groups in self.groups.items():
            if groups:
                with atomic_path(self.chosen.out / f"{name}.png") as temporary:
                    judged.mosaic(groups, columns=4).save(temporary)
        self.out.arrays("volumes", self.arrays)
