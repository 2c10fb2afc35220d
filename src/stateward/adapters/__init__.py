"""Adapters: what stands behind the ports. Only the runtime and the testing kit import them."""
