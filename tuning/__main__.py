# SPDX-License-Identifier: Apache-2.0
"""``python -m tuning`` is ``cmsisnn-tune``."""

from .cli.main import main

if __name__ == "__main__":
    main()
