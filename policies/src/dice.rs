//! Numbers for the models in tests: from one seed always the same ones.

pub(crate) struct Dice(pub(crate) u64);

// === impl Dice ===

impl Dice {
    /// A number below `most`, by `SplitMix64`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most.max(1)
    }
}
