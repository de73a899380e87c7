"""What a model learnt from, condensed: stored with it, so that a later check costs milliseconds."""
