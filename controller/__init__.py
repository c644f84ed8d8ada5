"""Runs batches: plans images, lets an engine create them, and keeps the ledger of OUT."""
