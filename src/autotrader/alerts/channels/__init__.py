"""Ways to tell people, each in its own form.

Over httpx rather than by one library for all: such libraries answer yes or no, and hide what decides
here (Retry-After, the key that keeps a pager from telling twice, refused or away).
"""
