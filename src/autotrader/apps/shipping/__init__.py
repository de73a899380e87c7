"""Brings the prediction logs of both colours to the lake."""
