# SPDX-License-Identifier: Apache-2.0
"""``--against``: a network against the packages that run its file too, tensor by tensor."""
