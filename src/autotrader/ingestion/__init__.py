"""From a venue's raw pages to bars in the lake: plan, extract, archive, validate, commit.

Each step is a plain function that may be run twice. Steps exchange folders, counts and hashes;
the frames stay in the run's staging folder.
"""
