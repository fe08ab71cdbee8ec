"""How the quickstart's weights were made: training code only. Nothing else imports it, but ``iqa.py build``."""
