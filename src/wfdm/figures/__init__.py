"""The paper's figures, drawn from this study's volumes and models."""
