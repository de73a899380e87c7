"""Costs, sizing and fills: one model for backtest, canary and trader."""
