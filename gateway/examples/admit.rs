//! Time of `admit` for a cached token, five rounds, and of each step, in nanoseconds; `make bench` runs it, and by hand
//! `cargo run --release -p gateway --features yardstick --example admit`.

use std::time::Instant;

use gateway::yardstick::Rig;

// The product's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMES: u32 = 100_000;

#[expect(clippy::print_stdout, reason = "it is what this is for")]
fn main() -> anyhow::Result<()> {
    let mut rig = Rig::open()?;
    print!("admit");
    for _ in 0..5 {
        let began = Instant::now();
        anyhow::ensure!((0..TIMES).all(|_| rig.admit()), "a request was refused");
        print!(" {}", began.elapsed().as_nanos() / u128::from(TIMES));
    }
    println!();
    for (step, nanoseconds) in rig.steps(TIMES)? {
        println!("{step} {nanoseconds}");
    }
    Ok(())
}
