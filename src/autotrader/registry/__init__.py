"""The model registry: which versions there are, what became of them, and the way back."""
