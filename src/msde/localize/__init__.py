"""Where an image differs from the normals: patches of the feature maps that the network computes anyway."""

from msde.localize.explanation import Explanation
from msde.localize.localizer import Localizer

__all__ = ["Explanation", "Localizer"]
