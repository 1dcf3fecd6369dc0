"""Who asks: principals, and how a request proves to be one's."""
