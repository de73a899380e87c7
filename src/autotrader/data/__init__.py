"""The lake: bars, features, labels and what became of them, in Delta tables; and their quality."""
