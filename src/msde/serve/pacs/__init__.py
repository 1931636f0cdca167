"""The DICOM side: images in by C-STORE, STOW-RS and polling, results out by STOW-RS; needs `msde[pacs]`."""
