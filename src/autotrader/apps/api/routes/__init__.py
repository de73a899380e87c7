"""The paths, by subject: each module makes a router over the sources that it reads."""
