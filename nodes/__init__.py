"""The pack's ComfyUI nodes, one file per step of the graph."""

from .apply import IQAAdapterApply
from .conditioning import IQAConditioningQuality, IQAQualityEmbed
from .loaders import IQAAdapterLoader

NODES = [
    IQAAdapterLoader,
    IQAQualityEmbed,
    IQAConditioningQuality,
    IQAAdapterApply,
]
