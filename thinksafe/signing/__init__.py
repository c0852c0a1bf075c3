"""Signatures in OpenSSF's format for models, by its library ``model-signing``."""
