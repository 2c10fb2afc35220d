"""Audit: what happened? One chained ledger entry for every transition, and views of it."""
