# SPDX-License-Identifier: Apache-2.0
"""The errors that the kernels raise: ``ValueError`` with one sentence of argument, what was expected, what was got."""


class CmsisnnError(ValueError):
    """Base of every error that :mod:`cmsisnn_x` raises."""


class DtypeError(CmsisnnError):
    """An array holds the wrong element type."""


class ShapeError(CmsisnnError):
    """An array, kernel, stride or padding does not fit the others."""


class GeometryError(ShapeError):
    """An operation cannot run on an input of this shape.

    Attributes
    ----------
    keys : tuple of str
        Attributes of the operation that may be meant, the likeliest first; ``op`` where none would help.
    """

    def __init__(self, text: str, *keys: str) -> None:
        super().__init__(text)
        self.keys = keys or ("op",)


class ShiftError(CmsisnnError):
    """A shift lies outside 0..31."""


class VariantError(CmsisnnError):
    """No kernel of this operation has the requested knobs."""


class DomainError(CmsisnnError):
    """Arm's kernel would read or write memory outside its tensors for this call."""
