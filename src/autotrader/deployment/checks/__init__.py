"""What is checked before a version is started, and of a colour before anybody acts on its answers."""
