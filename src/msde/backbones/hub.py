"""Folders of the Hugging Face hub: fetched when a name asks for it, and what to do when that fails."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from msde.backbones.shards import INDEX, named
from msde.errors import BackboneError


def snapshot(name: str, repository: str, configs: tuple[str, ...], weights: tuple[str, ...]) -> Path:
    """Fetch a repository's description and weights, or find them in the hub client's cache.

    The repository is such as ``microsoft/rad-dino`` or, for one revision, ``microsoft/rad-dino@REVISION``. `configs`
    are the files that describe the network; of `weights`, best first, the first that the repository has is fetched, and
    if it is an index, the files that it names. Returns a folder that is named after the revision's hash. Raises
    BackboneError if they cannot be had; says which files to fetch and where to put them.
    """
    from huggingface_hub import snapshot_download

    repo, _, revision = repository.partition("@")
    try:
        for file in weights:
            folder = Path(snapshot_download(repo, revision=revision or None, allow_patterns=[*configs, file]))
            if not any(fnmatch.fnmatch(found.name, file) for found in folder.iterdir()):
                continue
            if file.endswith(INDEX):
                parts = named(folder / file)
                snapshot_download(repo, revision=revision or None, allow_patterns=[*configs, file, *parts])
            return folder
    except Exception as error:  # whatever the network or the hub's client raises
        raise failed_download(name, repo, f"{', '.join(configs)} and {weights[0]}", error) from error
    raise BackboneError(
        f"backbone {name}: {repo} on the Hugging Face hub has no {' or '.join(weights)}; choose another"
    )


def failed_download(name: str, repository: str, files: str, error: Exception) -> BackboneError:
    """Return in one line why nothing was downloaded, which files to fetch, and where to put them."""
    remedy = f"fetch {files} of {repository} from the Hugging Face hub into a folder and pass it as the checkpoint"
    if is_gated(error):
        return BackboneError(
            f"backbone {name}: {repository} is gated or private: accept its terms on the Hugging Face hub and set "
            f"HF_TOKEN to a token of yours, or {remedy}"
        )
    return BackboneError(f"backbone {name}: its weights could not be downloaded ({type(error).__name__}); {remedy}")


def is_gated(error: BaseException | None) -> bool:
    """Return whether the hub refused, in this error or in one that led to it."""
    from huggingface_hub.errors import RepositoryNotFoundError  # base of the one for gated repositories

    while error is not None:
        if isinstance(error, RepositoryNotFoundError):
            return True
        error = error.__cause__ or error.__context__
    return False
