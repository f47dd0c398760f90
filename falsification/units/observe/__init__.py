"""Histories, traces and what stands out."""
