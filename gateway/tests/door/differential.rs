//! The same hostile bytes to nginx, to `HAProxy` and to us: `scripts/differential` sends them and judges what arrived.

use std::process::Command;

use crate::platform::{PORTCULLIS, shipped};

/// What is judged is what arrived behind us, and that we have refused what is to be refused and let through what is honest; the others have
/// to be there all the same, or nobody would see that nothing is compared.
#[test]
fn nothing_smuggled_or_forged_arrives_whatever_bytes_are_sent() {
    let ran = Command::new(shipped("scripts/differential")).arg(PORTCULLIS).arg("--strict").output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    let last = told.lines().find(|line| line.contains(" cases to ours")).unwrap_or_default();
    assert!(
        last.contains(" cases to ours, nginx, haproxy: "),
        "all three are compared (scripts/install-deps test): {told}"
    );
    let cases: usize = last.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
    assert!(cases >= 150, "{told}");
}
