"""Classic HD-BET: the five networks' mean over mirror images, written for a CPU and for a GPU.

Isensee et al., Automated brain extraction of multisequence MRI using artificial neural networks,
Human Brain Mapping 40 (2019). The network is a residual U-Net with instance normalisation; the
inference (1.5 mm, z-score over the volume, padding with zeros at the end, mean of the softmax,
more than one half, linear resampling of the mask) is that of the published tool.

On a CPU each pass runs on one thread and `threads` passes run side by side, so that the mask does
not depend on how many there are. Activations lie channels last; normalisation works slice by
slice, within the cache; channels that weight decay has emptied are left out, which changes the
probabilities by rounding only. A quarter of what is left goes into new pages for each activation,
unless glibc is told to keep what is freed (`wfdm.preprocess.shard` does).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from wfdm.config.preprocess import HdBetSettings

_SPACING_MM = 1.5  # what the networks were trained on
_DIVISOR = 16  # four halvings
_SHORTEST = 128  # voxels that a side of the whole field is padded to at least
_SLOPE, _OUTER_SLOPE = 0.01, 0.1  # of the leaky ReLU: within the modules, and around them
_EPSILON = 1e-5
_NOTHING = 1e-12  # weights below it, after a normalisation, move no float32
# The box at 1.5 mm, in S, A, R order, that field "brain" sees: the atlas brain and 15 mm around.
_BRAIN_BOX = (slice(0, 96), slice(10, 138), slice(24, 136))

Weights = Mapping[str, Any]


def brain_mask(
    head: np.ndarray, weights: Sequence[Path], settings: HdBetSettings, threads: int
) -> np.ndarray:
    """Return the boolean brain mask of `head`.

    Args:
        head: float32 volume in RAS at 1 mm, on the SRI-24 grid, any contrast and unit.
        weights: the files of the networks, one per fold.
        settings: mirror images, field, precision, device, postprocessing.
        threads: passes that run side by side on a CPU; the result does not depend on it.
    """
    import torch

    volume = _standardised(head)
    box = _BRAIN_BOX if settings.field == "brain" else tuple(slice(0, n) for n in volume.shape)
    padded = _padded(volume[box], _SHORTEST if settings.field == "whole" else _DIVISOR)
    cuda = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    run = _on_gpu if cuda else _on_cpu
    mean = run(padded, weights, settings, threads)
    found = np.zeros(volume.shape, bool)
    found[box] = mean[tuple(slice(s.stop - s.start) for s in box)] > 0.5
    if settings.largest_component:
        found = _largest(found)
    factors = np.array(head.T.shape) / found.shape
    fine = ndimage.zoom(found.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return fine.T >= 0.5


def _standardised(head: np.ndarray) -> np.ndarray:
    """Resample to 1.5 mm by cubic splines, in S, A, R order, to mean 0 and deviation 1."""
    head = head.T.astype(np.float32)
    shape = np.round(np.array(head.shape) / _SPACING_MM)
    coarse = ndimage.zoom(head, shape / head.shape, order=3, mode="nearest", grid_mode=True)
    coarse = np.clip(coarse, head.min(), head.max())
    return (coarse - coarse.mean()) / coarse.std()


def _padded(volume: np.ndarray, shortest: int) -> np.ndarray:
    sides = [max(shortest, -(-size // _DIVISOR) * _DIVISOR) for size in volume.shape]
    return np.pad(volume, [(0, n - size) for n, size in zip(sides, volume.shape, strict=True)])


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return mask if count < 2 else labels == 1 + np.bincount(labels.ravel())[1:].argmax()


def _flips(settings: HdBetSettings) -> list[tuple[int, ...]]:
    """Return the axes of each mirror image, the image itself first."""
    axes = (2, 3, 4)
    some = itertools.chain.from_iterable(itertools.combinations(axes, n) for n in range(4))
    return list(some) if settings.mirror else [()]


def _on_cpu(
    volume: np.ndarray, weights: Sequence[Path], settings: HdBetSettings, threads: int
) -> np.ndarray:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    dtype = getattr(torch, settings.precision)
    image = torch.from_numpy(volume)[None, None]

    def one(network: Weights, flip: tuple[int, ...]) -> Any:
        with torch.inference_mode():
            return _forward(network, image.flip(flip).to(dtype)).flip(flip)

    def passes() -> Iterator[tuple[Weights, tuple[int, ...]]]:
        for path in weights:
            network = load(path, dtype)
            yield from ((network, flip) for flip in flips)

    flips = _flips(settings)
    total = torch.zeros_like(image)
    # 45 % of the weights are denormal: flushed, 20 times faster. The flag is a thread's own.
    with ThreadPoolExecutor(threads, initializer=partial(torch.set_flush_denormal, True)) as pool:
        for probability in _in_order(pool, one, passes(), threads):
            total += probability
    torch.set_num_threads(before)
    return (total / (len(weights) * len(flips)))[0, 0].numpy()


def _in_order(
    pool: ThreadPoolExecutor, call: Any, work: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Any]:
    """Yield the results in the order of `work`, with no more than `ahead` in the making."""
    waiting: list[Future[Any]] = []
    for arguments in work:
        waiting.append(pool.submit(call, *arguments))
        if len(waiting) == ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _on_gpu(
    volume: np.ndarray, weights: Sequence[Path], settings: HdBetSettings, threads: int
) -> np.ndarray:
    """All mirror images of one network at a time."""
    import torch

    dtype = getattr(torch, settings.precision)
    image = torch.from_numpy(volume)[None, None].to("cuda", dtype)
    flips = _flips(settings)
    total = torch.zeros(image.shape, device="cuda")
    with torch.inference_mode():
        batch = torch.cat([image.flip(flip) for flip in flips])
        for path in weights:
            network = {key: value.cuda() for key, value in load(path, dtype).items()}
            for flip, probability in zip(flips, _forward(network, batch), strict=True):
                total += probability[None].flip(flip)
    return (total / (len(weights) * len(flips)))[0, 0].cpu().numpy()


def load(path: Path, dtype: Any) -> Weights:
    """Return one network's live weights: convolutions in `dtype`, channels last."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    for producer, norm, reader in _readers():
        _prune(state, producer, norm, reader)
    return {
        name: _channels_last(value.to(dtype)) if value.ndim == 5 else value
        for name, value in state.items()
        if not name.endswith(("running_mean", "running_var"))  # statistics are the instance's
    }


def _readers() -> Iterator[tuple[str, str, str]]:
    """Yield (convolution, its normalisation, the only convolution that reads it), last first."""
    yield "end_conv_2", "end_conv_2_bn", "seg_layer"
    yield "end_conv_1", "end_conv_1_bn", "end_conv_2"
    yield "up4.upsample_conv", "up4.bn", "end_conv_1"
    for level in (3, 2, 1):
        yield f"loc{level}.conv2", f"loc{level}.bn_2", f"up{level + 1}.upsample_conv"
        yield f"loc{level}.conv1", f"loc{level}.bn_1", f"loc{level}.conv2"
        yield f"up{level}.upsample_conv", f"up{level}.bn", f"loc{level}.conv1"
    for level in range(1, 6):
        yield f"context{level}.conv1", f"context{level}.bn_2", f"context{level}.conv2"


def _prune(state: dict[str, Any], producer: str, norm: str, reader: str) -> None:
    """Drop the channels of `producer` that `reader` multiplies by what weight decay left: nothing.

    They are the last input channels of the reader; before them is a skip connection, or nothing.
    """
    kernel = state[f"{reader}.weight"]
    skipped = kernel.shape[1] - len(state[f"{producer}.bias"])
    live = kernel.abs().amax(dim=(0, 2, 3, 4)) > _NOTHING
    live[:skipped] = True
    state[f"{reader}.weight"] = kernel[:, live]
    for name in (producer, norm):
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][live[skipped:]]


def _channels_last(x: Any) -> Any:
    """Lay `x` out so, also where a single channel leaves the order open and `to` does nothing."""
    import torch

    return torch.empty_like(x, memory_format=torch.channels_last_3d).copy_(x)


def _forward(weights: Weights, x: Any) -> Any:
    """Return the probability of brain, float32 (n, 1, S, A, R), of images (n, 1, S, A, R)."""
    import torch
    from torch.nn import functional as F

    def conv(x: Any, name: str, stride: int = 1, padding: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        bias = weights[f"{name}.bias"].to(kernel.dtype)
        if kernel.shape[-1] == 1:
            return F.linear(x.movedim(1, -1), kernel.flatten(1), bias).movedim(-1, 1)
        return F.conv3d(x, kernel, bias, stride, padding)

    def active(x: Any, name: str, slope: float = _SLOPE, inplace: bool = True) -> Any:
        x = x if inplace else x.clone(memory_format=torch.preserve_format)
        return _normalised(x, weights[f"{name}.weight"], weights[f"{name}.bias"], slope)

    # Padded before, because oneDNN takes a single channel only from 20,481 voxels a slab.
    x = conv(F.pad(x, [1] * 6), "init_conv", padding=0)
    skipped = []
    for level in range(1, 6):
        name = f"context{level}"
        inner = conv(active(x, f"{name}.bn_1", inplace=False), f"{name}.conv1")
        x += conv(active(inner, f"{name}.bn_2"), f"{name}.conv2")
        if level < 5:
            x = active(x, f"down{level}.bn")
            skipped.append(x)
            x = conv(x, f"down{level}.downsample", stride=2)
    x = active(x, "bn_after_context5", _OUTER_SLOPE)
    for level in range(1, 5):
        x = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        x = active(conv(x, f"up{level}.upsample_conv"), f"up{level}.bn")
        x = torch.cat([skipped.pop(), x], dim=1)
        if level < 4:
            x = active(conv(x, f"loc{level}.conv1"), f"loc{level}.bn_1")
            x = active(conv(x, f"loc{level}.conv2"), f"loc{level}.bn_2")
    for name in ("end_conv_1", "end_conv_2"):
        x = active(conv(x, name), f"{name}_bn", _OUTER_SLOPE)
    # Of two classes, softmax gives the second one the sigmoid of the difference of their logits.
    kernel = weights["seg_layer.weight"].float()
    difference = (kernel[1] - kernel[0]).flatten()
    return torch.sigmoid(x.movedim(1, -1).float() @ difference)[:, None]


def _normalised(x: Any, scale: Any, shift: Any, slope: float) -> Any:
    """Instance normalisation and leaky ReLU of channels-last `x`, in place.

    Slice by slice, because what is in the cache need not be fetched three times; sums of a slice
    in float32, sums over slices in float64.
    """
    import torch
    from torch.nn import functional as F

    if x.is_cuda:
        normal = F.instance_norm(x, weight=scale.to(x.dtype), bias=shift.to(x.dtype), eps=_EPSILON)
        return F.leaky_relu_(normal, slope)
    for image in x.movedim(1, -1):
        sums = torch.zeros(2, x.shape[1], dtype=torch.float64)
        for part in image:
            values = part.flatten(0, 1).float()
            sums += torch.stack([values.sum(0), (values * values).sum(0)])
        mean, square = sums / image[..., 0].numel()
        factor = scale / torch.sqrt(square - mean**2 + _EPSILON)
        offset = (shift - mean * factor).to(x.dtype)
        factor = factor.to(x.dtype)
        for part in image:
            F.leaky_relu_(torch.addcmul(offset, part, factor, out=part), slope)
    return x
