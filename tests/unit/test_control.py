"""A denoiser with a control branch: which scans are there, and that nothing else changes."""

from itertools import combinations

import pytest
import torch

from wfdm.config.denoisers import UNetSettings
from wfdm.data.metadata import load_schema
from wfdm.data.table import MODALITIES
from wfdm.models.denoisers.branch import Branch
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.controlled import Controlled, answers
from wfdm.models.denoisers.sources import Sources
from wfdm.models.denoisers.unet import Denoiser

LATENT = (4, 8, 8, 8)
SUBSETS = [subset for size in range(1, 5) for subset in combinations(MODALITIES, size)]


def small(patch: int = 1, maps: tuple[str, ...] = ()) -> Denoiser:
    """A denoiser whose weights say something: a fresh one's answer is zero."""
    settings = UNetSettings(
        channels=(16, 16),
        attention=(False, True),
        head_channels=8,
        norm_groups=8,
        res_blocks=1,
        patch=patch,
        maps=list(maps),
        metadata_width=8,
    )
    torch.manual_seed(0)
    return filled(Denoiser(settings, LATENT, load_schema())).eval().requires_grad_(False)


def filled(module):
    for weight in module.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return module


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return small()


def branch_of(denoiser: Denoiser, trained: bool = True, direct: int = 0) -> Branch:
    torch.manual_seed(1)
    branch = Branch(denoiser.settings, LATENT[0], 8, direct)
    branch.start_as(denoiser)
    return (filled(branch) if trained else branch).eval()


def scans(*modalities: str) -> dict[str, torch.Tensor]:
    """A latent of each modality, always the same."""
    every = torch.randn(4, *LATENT, generator=torch.Generator().manual_seed(2))
    return {name: every[MODALITIES.index(name)] for name in modalities}


CONDITIONS = Conditions.of(["T2w", "FLAIR"], [{"age": "40"}, {}], {"age": (50.0, 10.0)})
Z = torch.randn(2, *LATENT, generator=torch.Generator().manual_seed(3))
T = torch.tensor([0.3, 0.9])


@torch.no_grad()
@pytest.mark.parametrize("kind", [{}, {"patch": 2}, {"patch": 2, "maps": ("age", "sex")}])
@pytest.mark.parametrize("direct", [0, 8])
def test_a_fresh_branch_changes_no_bit(kind, direct):
    denoiser = small(**kind)
    fresh = branch_of(denoiser, False, direct)
    controlled = Controlled(denoiser, fresh, Sources.of(scans("T1w")))
    alone = denoiser(Z, T, CONDITIONS)
    assert alone.abs().max() > 0.01
    assert torch.equal(controlled(Z, T, CONDITIONS), alone)
    trained = Controlled(denoiser, branch_of(denoiser), Sources.of(scans("T1w")))
    assert (trained(Z, T, CONDITIONS) - alone).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("direct", [0, 8])
def test_any_of_the_15_subsets_runs_through_one_branch(denoiser, direct):
    """And each is told from the others, also by the mask alone: of latents that are all zero."""
    branch = branch_of(denoiser, direct=direct)
    assert len(SUBSETS) == 15
    nothing = {name: torch.zeros(LATENT) for name in MODALITIES}
    for given in (scans(*MODALITIES), nothing):
        made = [
            Controlled(denoiser, branch, Sources.of({name: given[name] for name in subset}))(
                Z, T, CONDITIONS
            )
            for subset in SUBSETS
        ]
        assert all(each.shape == Z.shape and each.isfinite().all() for each in made)
        pairs = combinations(made, 2)
        assert min(float((one - other).abs().max()) for one, other in pairs) > 1e-4


@torch.no_grad()
def test_what_is_not_there_has_no_say(denoiser):
    branch = branch_of(denoiser, direct=8)
    honest = Sources.of(scans("T1w", "FLAIR"))
    latents = honest.latents.clone()
    latents[:, 1] = 1000
    hidden = Sources(latents, honest.there)
    told = [Controlled(denoiser, branch, each)(Z, T, CONDITIONS) for each in (honest, hidden)]
    assert torch.equal(*told)
    with pytest.raises(ValueError, match="no source"):
        Sources.of({})


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2])
def test_training_asks_what_sampling_asks(patch):
    """Each item of a batch with its own sources, as if it were asked alone."""
    denoiser = small(patch)
    branch = branch_of(denoiser, direct=8)
    each = [Sources.of(scans("T1w")), Sources.of(scans("T1w", "T1Gd", "FLAIR"))]
    both = Sources(torch.cat([one.latents for one in each]), torch.cat([one.there for one in each]))
    together = answers(denoiser, branch, Z, T, CONDITIONS, both)
    for item, sources in enumerate(each):
        only = slice(item, item + 1)
        alone = Controlled(denoiser, branch, sources)(Z[only], T[only], CONDITIONS[only])
        torch.testing.assert_close(together[only], alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_the_branch_alone(denoiser):
    branch = branch_of(denoiser, False, direct=8)
    sources = Sources.of(scans("T1w"))
    both = Sources(sources.latents.repeat(2, *[1] * 5), sources.there.repeat(2, 1))
    answers(denoiser, branch, Z, T, CONDITIONS, both).square().mean().backward()
    # Of a fresh one only the zero convolutions at its end learn in the first step.
    learning = {
        ".".join(name.split(".")[:2])
        for name, weight in branch.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    zeros = ("control.controlnet_down_blocks", "control.controlnet_mid_block", "direct.out")
    assert learning == {*zeros}
    assert all(weight.grad is None for weight in denoiser.parameters())


@pytest.mark.parametrize("direct", [0, 8])
def test_it_learns_what_it_is_told(denoiser, direct):
    """A pattern whose sign the source alone knows: told the other sign, it answers that one."""
    branch = branch_of(denoiser, False, direct)
    given = torch.Generator().manual_seed(4)
    coarse = torch.randn(1, 4, 2, 2, 2, generator=given)
    pattern = torch.nn.functional.interpolate(coarse, LATENT[1:], mode="trilinear")
    conditions, noise_alone = Conditions.of(["T2w"] * 4, [{}] * 4, None), torch.ones(4)
    adam = torch.optim.Adam(branch.parameters(), 1e-2)

    def losses() -> list[torch.Tensor]:
        sign = 2.0 * torch.randint(0, 2, (4, 1, 1, 1, 1), generator=given) - 1
        z, x = torch.randn(4, *LATENT, generator=given), sign * pattern
        latents, there = torch.zeros(4, 4, *LATENT), torch.zeros(4, 4)
        latents[:, 0], there[:, 0] = x, 1
        found = []
        for told in (latents, -latents):
            made = answers(denoiser, branch, z, noise_alone, conditions, Sources(told, there))
            found.append((made - x).square().mean())
        return found

    for _ in range(20):
        adam.zero_grad()
        losses()[0].backward()
        adam.step()
    right, wrong = losses()
    assert right < 0.5 * wrong
