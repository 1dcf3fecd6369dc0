"""The grid and its peers behind one small interface; ``catalogue`` names them."""
