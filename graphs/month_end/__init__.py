"""Month-end close of a small company: reconcile the bank with the ledger, adjust, and hand over a close pack.

The modules here are plain domain code: no database, no model, no agent framework. Each can be run and tested
alone; the workflow around them only decides who does what, when, and with whose approval.
"""
