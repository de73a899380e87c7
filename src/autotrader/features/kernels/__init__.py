"""The formulas of the balanced feature set, compiled; batch and live evaluation both run these.

`evaluate.fill` writes the rows [first, stop) of a series of bars. Batch evaluation asks for all
rows, live evaluation for the last one. Both give the same bits, wherever the series begins, because
no running sum outlives its window:

A window of w bars is cut at fixed instants, the multiples of w intervals since 1970 (van Herk's
scheme, anchored in time instead of at the start of the data). Its aggregate is the sum from its
first bar to the end of that bar's block (added backwards from there), plus the whole blocks between
(only where bars are missing), plus the sum from the newest block's start (added forwards). Those
additions depend on the bars of the window alone, cost the same for every w, and do not drift.
Second moments are taken about a close of each block that lies inside the window, which bounds the
cancellation by the number of bars.

NaN policy: a value is NaN until its whole lookback exists and where an input in its lookback is
NaN. All of it uses bars up to and including the row's own.
"""
