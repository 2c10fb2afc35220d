"""The nouns: frozen, keyword-only, without I/O. Steps meet only through them."""
