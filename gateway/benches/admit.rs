//! Instructions of `admit` for a cached token; counted by `scripts/check-instructions`.
#![expect(missing_docs, reason = "the macros make items that have none")]

use std::hint::black_box;

use gateway::yardstick::Rig;
use gungraun::{library_benchmark, library_benchmark_group, main};

#[expect(clippy::expect_used, reason = "there is nothing to count without a rig")]
fn open() -> Rig {
    Rig::open().expect("a rig")
}

#[library_benchmark(setup = open)]
#[bench::jwt()]
fn admit(mut rig: Rig) -> (bool, Rig) {
    (black_box(rig.admit()), rig)
}

library_benchmark_group!(name = hot, benchmarks = admit);
main!(library_benchmark_groups = hot);
