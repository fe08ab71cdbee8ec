"""The commands of ``iqa.py``, a file each: its line in the overview, its arguments, and what it runs.

Nothing heavy is imported before a command runs: help and mistakes are answered at once.
"""
