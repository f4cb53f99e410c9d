"""Descriptions of tilings, and what they cost: pure arithmetic on whole numbers."""
