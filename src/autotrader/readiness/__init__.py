"""Whether the platform may go to work: ten stages, each looked at and none assumed."""
