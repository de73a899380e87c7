"""Who may do what, and who said yes: tokens, and the sign-offs that production asks for."""
