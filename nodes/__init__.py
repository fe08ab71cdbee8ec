"""The pack's ComfyUI nodes, one file per step of the graph."""

from .apply import IQAAdapterApply
from .calibrate import IQACalibrate
from .compare import IQACompare
from .conditioning import IQAConditioningQuality, IQAQualityEmbed
from .cull import IQACullFolder
from .distort import IQADistortImages
from .features import IQALoadFeatures, IQASaveFeatures
from .guidance import IQAGradientGuidance, IQAGuidanceRecord
from .loaders import IQAAdapterLoader, IQAModelLoader
from .quality_map import IQAQualityMap
from .quickstart import IQAQuickstartModel, IQAQuickstartPicture
from .reference import IQAMixFeatures, IQAReferenceEmbed, IQAReferenceFeatures
from .schedule import IQAQualitySchedule
from .score_dataset import IQAScoreDataset
from .scoring import IQAScoreImages, IQASelectBest
from .search import IQASearch
from .simple import IQAQuality, IQAQualityFromPicture
from .sweep import IQAImageGrid, IQAQualitySweep, IQAResponseCurve
from .training import IQAAdapterTrain
from .training_pictures import IQAQuickstartTrainingPictures

NODES = [
    IQAQuality,
    IQAQualityFromPicture,
    IQAAdapterLoader,
    IQAQualityEmbed,
    IQAConditioningQuality,
    IQAQualitySchedule,
    IQAAdapterApply,
    IQAModelLoader,
    IQAScoreImages,
    IQASelectBest,
    IQACullFolder,
    IQAQualityMap,
    IQADistortImages,
    IQAReferenceFeatures,
    IQAMixFeatures,
    IQASaveFeatures,
    IQALoadFeatures,
    IQAReferenceEmbed,
    IQAGradientGuidance,
    IQAGuidanceRecord,
    IQASearch,
    IQAQuickstartModel,
    IQAQuickstartPicture,
    IQAQuickstartTrainingPictures,
    IQAQualitySweep,
    IQAImageGrid,
    IQAResponseCurve,
    IQACalibrate,
    IQACompare,
    IQAScoreDataset,
    IQAAdapterTrain,
]
