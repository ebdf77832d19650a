# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

BlockCounts = tuple[int, int, int, int, int, int, int, int, int, dict[int, int]]

class MemoryProbe:
    def __init__(
        self, reg_read: int, reg_write: int, xpsr_register: int, it_blocks: bool, current: int = 0
    ) -> None: ...
    @property
    def block_callback(self) -> int: ...
    @property
    def access_callback(self) -> int: ...
    @property
    def direct(self) -> int: ...
    @property
    def user_data(self) -> int: ...
    def start(
        self,
        regions: Sequence[tuple[int, int, int]],
        *,
        line_bytes: int,
        instruction_cache: tuple[int, int, int],
        data_cache: tuple[int, int, int],
        shared: bool,
        fetches: bool,
        sram_waits: bool,
        sram_cached: bool,
        warm: bool = False,
    ) -> None: ...
    def regions(self) -> list[tuple[int, int, int, int, int, int, int, int]]: ...
    def reuse(self) -> tuple[int, ...]: ...
    def blocks(self) -> dict[int, BlockCounts]: ...
