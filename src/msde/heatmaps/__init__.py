"""Where an image differs from the normals: patches of the feature maps that the network computes anyway."""
