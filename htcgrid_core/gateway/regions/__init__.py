"""Several grids behind one gateway: each session lives whole in one of them, which its id names."""
