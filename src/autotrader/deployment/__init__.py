"""From a registered model to live traffic and back: rollout, canary analysis, blue and green."""
