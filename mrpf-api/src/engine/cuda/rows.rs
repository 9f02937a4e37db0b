//! How sums over rows are divided among the blocks of a kernel.

use super::gpu::Argument::{self, Address, Int, Long};
use super::gpu::{EIGHT, Grid};
use super::pass::groups;
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::Sizes;

/// Threads of a block.
const BLOCK: usize = 256;

/// How sums over rows are divided among blocks; by sizes alone, so that the order of additions is the same every time.
pub(super) struct Rows {
    pub rows: usize,
    pub groups: usize,
    /// Eights of a row side by side in a block.
    pub width: usize,
    /// Rows of each block.
    pub of_block: usize,
    /// Blocks along the rows.
    pub blocks: usize,
}

impl Rows {
    pub fn of(batch: usize, sizes: Sizes) -> Self {
        let (rows, groups) = (batch * sizes.pixels(), groups(sizes));
        let width = groups.min(32);
        let lanes = BLOCK / width;
        let of_block = rows.div_ceil(256).max(4 * lanes);
        Self { rows, groups, width, of_block, blocks: rows.div_ceil(of_block) }
    }

    pub fn grid(&self) -> Grid {
        Grid { blocks: [self.blocks as u32, self.groups.div_ceil(self.width) as u32] }
    }

    /// Numbers in f32 that the blocks leave behind.
    pub fn partial(&self) -> usize {
        self.blocks * 2 * self.groups * EIGHT
    }

    /// Starts a kernel that sums over rows: `places` as its signature begins, the blocks' sums last.
    pub fn sum(&self, queue: &Queue<'_>, kernel: &str, places: &[u64]) -> Result<()> {
        let mut arguments: Vec<Argument> = places.iter().copied().map(Address).collect();
        arguments.push(Long(self.rows as i64));
        arguments.extend([self.of_block, self.width, self.groups].map(|size| Int(size as i32)));
        queue.launch(kernel, self.grid(), &arguments)
    }
}
