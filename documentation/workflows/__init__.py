"""The workflows of the pack, one per file; :mod:`..workflow` says how they are written."""
