"""The metadata encoder: (d_i, r_i) to e_meta (paper, 2.5.5)."""

import torch
from torch import Tensor, nn

from wfdm.data.metadata import Schema


class MetadataEncoder(nn.Module):
    """Map metadata values and their availability mask to one vector of fixed width.

    Numbers are used directly as z-scores, categories and clinical yes/no fields through learned
    embeddings, and the mask lets the network tell "not recorded" from a recorded value, an
    explicit "no" included (paper, 2.5.5). The parts stand in the order: numbers, embeddings,
    availability; then Linear, SiLU, Linear. Hidden width = output width, as in the authors' code.

    The availability bit is 1 where a value is recorded, which is the paper's r_i; the authors'
    code feeds the opposite, so their weights need that block's sign and bias turned on import.

    Args:
        schema: the fields in order; their kinds, classes and embedding widths.
        width: length of e_meta.
    """

    def __init__(self, schema: Schema, width: int) -> None:
        super().__init__()
        self.numeric, self.coded = schema.numeric, schema.coded
        fields = [schema.fields[i] for i in self.coded]
        self.embeddings = nn.ModuleList(nn.Embedding(f.classes, f.embedding) for f in fields)
        raw = len(self.numeric) + sum(f.embedding for f in fields) + len(schema.fields)
        self.mlp = nn.Sequential(nn.Linear(raw, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return e_meta (B, width).

        Args:
            values: (B, 25) float, z-scores and integer identifiers; ignored where mask is 0.
            mask: (B, 25) float, 1 where a value is recorded.
        """
        values = values * mask  # missing: the mean for numbers, class 0 for the others
        codes = values.long()
        parts = [values[:, self.numeric]]
        parts += [table(codes[:, i]) for table, i in zip(self.embeddings, self.coded, strict=True)]
        return self.mlp(torch.cat([*parts, mask], dim=1))
