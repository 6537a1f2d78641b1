"""pixiu-py: an AI gateway and L7 proxy that speaks Pixiu's conf.yaml."""

__version__ = "0.1.0"
