"""The encoder of a model as a file of its own, for jobs that embed and have no scores."""

from __future__ import annotations

import tempfile
from pathlib import Path

from msde.embedding.encoder import Encoder, EncoderSession
from msde.errors import BackboneError, ModelFileError
from msde.images import ImageRule, stored_rule
from msde.storage.bundle import read_bundle, write_bundle
from msde.storage.records import take_apart


def encoder_file(encoder: Encoder, rule: ImageRule) -> bytes:
    """Write an encoder and its image rule as a bundle, in the format of a model file without a scorer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.msde"
        write_bundle(path, encoder.arrays(), {"encoder": encoder.describe(), "images": take_apart(rule)[1]})
        return path.read_bytes()


def load_encoder(path: Path, device: str) -> tuple[EncoderSession, ImageRule]:
    """Read the encoder of a model file or of what `encoder_file` wrote, on one thread.

    Raises ModelFileError if the file is no model, BackboneError if the device cannot be used.
    """
    config, parts = read_bundle(path)
    try:
        encoder = Encoder.from_description(config["encoder"], parts)
        rule = stored_rule(config)
    except (AttributeError, KeyError, TypeError, ValueError, BackboneError) as error:
        raise ModelFileError(f"{path}: is no model ({error}); restore the file from a copy or fit again") from error
    return EncoderSession(encoder, threads=1, device=device), rule
