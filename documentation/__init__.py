"""The pictures of README.md and docs/: how each is made, and whether the one that is kept is still the one made so."""
