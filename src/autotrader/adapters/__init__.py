"""Vendor clients and other things of the outside world, each behind its port."""
