"""What the paper reports (Abud et al., *IQA-Adapter*, ICCV 2025, arXiv 2412.01794), and what is said beside it.

All of it was measured on SDXL. Beside other models only the direction can be compared.
"""

from __future__ import annotations

GAIN_PERCENT = 6.5  # mean relative gain over 21 metrics at the 99th percentile, TOPIQ + LAION-AES
GAINS = {"TOPIQ+LAION-AES": 6.5, "4xTOPIQ": 6.0, "TOPIQ": 5.9, "DBCNN": 5.6, "HyperIQA": 5.4}
PREFERENCE = {"high": 60.3, "medium": 34.7, "low": 5.7}  # per cent of votes, pairwise, among these and the base model
LEVELS = (1, 25, 50, 75, 99)  # over which measured quality rises


def beside(reported: str, measured: str, same: bool) -> str:
    """Report and measurement, and in plain words whether they point the same way."""
    return f"The paper reports {reported} (SDXL). Here: {measured}: {'same direction' if same else 'differs'}."
