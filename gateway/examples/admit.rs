//! Time of `admit` for a cached token and of each step, in nanoseconds:
//! `cargo run --release -p gateway --features yardstick --example admit`.

use std::time::Instant;

use gateway::yardstick::Rig;

const TIMES: u32 = 100_000;

#[expect(clippy::print_stdout, reason = "it is what this is for")]
fn main() -> anyhow::Result<()> {
    let mut rig = Rig::open()?;
    let mut rounds = [0; 5];
    for round in &mut rounds {
        let began = Instant::now();
        anyhow::ensure!((0..TIMES).all(|_| rig.admit()), "a request was refused");
        *round = began.elapsed().as_nanos() / u128::from(TIMES);
    }
    rounds.sort_unstable();
    println!("admit {}", rounds[2]);
    for (step, nanoseconds) in rig.steps(TIMES)? {
        println!("{step} {nanoseconds}");
    }
    Ok(())
}
