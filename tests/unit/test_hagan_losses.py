"""HA-GAN's losses: which network each moves, and the paper's formulae."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.unit.hagan_study import heads, task
from wfdm.baselines.hagan_folder import in_cube, one_hot
from wfdm.baselines.hagan_training import Files, Hagan
from wfdm.seeds import torch_generator


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return heads(tmp_path_factory.mktemp("volumes"))


class Noted:
    """Stands for a run: calls the bare modules, and notes what is minimised and its gradients."""

    def __init__(self, objective: Hagan) -> None:
        self.modules, self.step = dict(objective.modules), 0
        self.fabric = SimpleNamespace(autocast=torch.enable_grad)
        self.losses: dict[str, Tensor] = {}
        self.touched: dict[str, set[str]] = {}

    def update(self, name: str, loss: Tensor, clip: float) -> bool:
        self.losses[name] = loss.detach()
        for module in self.modules.values():
            module.zero_grad()
        loss.backward()
        self.touched[name] = {
            key
            for key, module in self.modules.items()
            if any(weight.grad is not None for weight in module.parameters())
        }
        return False


def batch_of(objective: Hagan, size: int = 2) -> dict[str, Tensor]:
    items = [objective.data.draw(np.random.default_rng(number)) for number in range(size)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def test_each_network_is_moved_by_its_own_loss_alone(volumes: pd.DataFrame, tmp_path: Path) -> None:
    objective = Hagan(task(), volumes, Files())
    run = Noted(objective)
    terms = objective.step(run, batch_of(objective), torch_generator(3))  # type: ignore[arg-type]
    assert run.touched == {"model": {"model"}, "discriminator": {"discriminator"}}
    assert list(terms) == [
        *("adversarial", "reconstruction_slab", "reconstruction", "discriminator")
    ]
    rebuilt = terms["reconstruction_slab"] + terms["reconstruction"]
    torch.testing.assert_close(run.losses["model"], (terms["adversarial"] + 5 * rebuilt).detach())
    torch.testing.assert_close(run.losses["discriminator"], terms["discriminator"].detach())


def test_reconstructions_move_the_encoders_alone(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Eight times their weight: eight times the encoders' gradients, the generator's the same."""
    found = []
    for weight in (1.0, 8.0):
        objective = Hagan(task(reconstruction_weight=weight), volumes, Files())
        moved: dict[str, Tensor] = {}

        def update(
            name: str, loss: Tensor, clip: float, networks=objective.modules["model"], moved=moved
        ) -> bool:
            if name == "model":
                loss.backward()
                moved |= {key: w.grad.clone() for key, w in networks.named_parameters()}
            return False

        run = Noted(objective)
        run.update = update  # type: ignore[method-assign]
        objective.step(run, batch_of(objective), torch_generator(3))  # type: ignore[arg-type]
        found.append(moved)
    for key, little in found[0].items():
        times = 1 if key.startswith("generator.") else 8
        assert little.any(), key
        assert torch.equal(found[1][key], times * little), key


def test_losses_are_the_papers(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Computed again from the networks themselves, with logarithms and means written out."""
    objective = Hagan(task(), volumes, Files())
    for module in objective.modules.values():
        module.eval()  # so that no pass moves the discriminators' power iteration
    batch, rng = batch_of(objective), torch_generator(3)
    terms = objective.step(Noted(objective), batch, rng)  # type: ignore[arg-type]

    rng = torch_generator(3)
    noise = torch.randn((2, 8), generator=rng)
    first = 4 * int(torch.randint(29, (), generator=rng))
    networks, judge = objective.modules["model"], objective.modules["discriminator"]
    cube, told = in_cube(batch["volume"], 128), one_hot(batch["modality"])
    with torch.no_grad():
        slab, small = networks.generator.slab(torch.cat([noise, told], 1), first)
        real, real_small = cube[:, :, first : first + 16], F.avg_pool3d(cube, 4)
        fake = torch.sigmoid(judge(slab, small, first / 128, told))
        true = torch.sigmoid(judge(real, real_small, first / 128, told))
        near = networks.generator.full(networks.encoder(real))
        parts = [networks.encoder(cube[:, :, k : k + 16]) for k in range(0, 128, 16)]
        code = torch.cat([networks.sub_encoder(torch.cat(parts, 2)), told], 1)
        again, small_again = networks.generator.slab(code, first)
    expected = {
        "adversarial": -fake.log().mean(),
        "reconstruction_slab": (near - real).abs().mean(),
        "reconstruction": (again - real).abs().mean() + (small_again - real_small).abs().mean(),
        "discriminator": -(true.log().mean() + (1 - fake).log().mean()),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value, rtol=1e-4, atol=1e-5)


def test_rare_modalities_are_drawn_as_often_as_told(volumes: pd.DataFrame, tmp_path: Path) -> None:
    """Six training scans: two of T1w and T2w, one of each other."""
    objective = Hagan(task(balance=1.0), volumes, Files())
    objective.data.volumes = [np.zeros((1, 1, 1, 1), np.float16)] * 6  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    drawn = [int(objective.data.draw(rng)["modality"]) for _ in range(2000)]
    np.testing.assert_allclose(np.bincount(drawn) / 2000, [0.25] * 4, atol=0.03)
