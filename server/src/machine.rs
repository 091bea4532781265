//! The machine as the rooms get to see it: its clock and its randomness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use waypost_base::id::Correlation;
use waypost_base::{Clock, Timestamp};

/// The system's wall clock.
pub fn clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Timestamp(i64::try_from(since).unwrap_or(i64::MAX))
    })
}

/// What the machine calls itself.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Unpredictable bytes from the operating system.
///
/// # Panics
/// When the system has no randomness to give: nothing that needs a secret may go on then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A fresh correlation id: unique in this process, and unlikely to meet that of another run.
pub fn correlation() -> Correlation {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut next = NEXT.load(Ordering::Relaxed);
    if next == 0 {
        let start = u64::from_be_bytes(random()) | 1 << 40;
        let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
    }
    next = NEXT.fetch_add(1, Ordering::Relaxed);
    Correlation(next)
}

/// A password that can be read out over the telephone: four groups of four, 77 bits.
pub fn password() -> String {
    const LETTERS: &[u8; 28] = b"abcdefghjkmnpqrstuvwxyz23456";
    let mut out = String::with_capacity(19);
    let mut count = 0;
    while count < 16 {
        for byte in random::<32>() {
            // 252 = 9 × 28: larger bytes would favour the first letters.
            if byte < 252 && count < 16 {
                if count > 0 && count % 4 == 0 {
                    out.push('-');
                }
                out.push(char::from(LETTERS[usize::from(byte % 28)]));
                count += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_differ_and_have_four_groups() {
        let (a, b) = (super::password(), super::password());
        assert_ne!(a, b);
        assert_eq!(a.split('-').map(str::len).collect::<Vec<_>>(), [4, 4, 4, 4]);
    }

    #[test]
    fn correlations_are_unique() {
        assert_ne!(super::correlation(), super::correlation());
    }
}
