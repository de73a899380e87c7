"""What operators ask of other services by hand, through their own interfaces."""
