"""What outlives the loss of a disk, a database or a region: backups, restores, failover, and their drill."""
