"""Approve: who says so? Questions bound to what is shown, decided once by a person who may."""
