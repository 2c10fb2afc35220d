"""Measures Stateward against plain LangGraph, side by side in one run: `python -m benchmarks`."""
