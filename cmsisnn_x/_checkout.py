# SPDX-License-Identifier: Apache-2.0
"""Python started in a source checkout finds the sources first, where nothing is compiled: use the installed package."""

from pathlib import Path


def use_installed(package: str, path: list[str]) -> None:
    """Turn the search path of `package`, if it is a checkout's, to where the package is installed.

    Raises
    ------
    ImportError
        The package is not installed.
    """
    source = Path(path[0])
    if not (source / "meson.build").exists():
        return
    from importlib.metadata import PackageNotFoundError, distribution  # as slow as all of ours together

    try:
        installed = Path(str(distribution("cmsisnn-x").locate_file(package)))
    except PackageNotFoundError:
        installed = source
    if installed.resolve() == source.resolve() or not installed.is_dir():
        raise ImportError(
            f"{package} was imported from its sources in {source}, where nothing is compiled: "
            "run `pip install .` there, or `pip install --no-build-isolation -e .` to work on it"
        )
    path[:] = [str(installed)]
