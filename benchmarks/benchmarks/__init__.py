# SPDX-License-Identifier: Apache-2.0
"""Suites for airspeed velocity. Compare a branch with main:

    asv --config benchmarks/asv.conf.json continuous main HEAD

Measure the installed package, without building another:

    asv --config benchmarks/asv.conf.json run --quick --python=same --set-commit-hash $(git rev-parse HEAD)
"""
