"""autotrader: from market data to gated models to live traffic, within hard risk limits."""

__version__ = "0.1.0"
