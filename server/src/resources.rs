//! How much of the machine is used: the readings that back pressure goes by.

use std::fs;
use std::io;
use std::path::Path;

/// A disk counts as no larger than this, so that a tenth of a very large one, which is plenty, holds nobody up.
const DISK_COUNTED: u64 = 64 << 30;

/// Per cent of a file system that is in use, as far as this user may fill it.
pub fn disk_used_percent(path: &Path) -> io::Result<u32> {
    let facts = rustix::fs::statvfs(path)?;
    Ok(used(facts.f_blocks.saturating_mul(facts.f_frsize), facts.f_bavail.saturating_mul(facts.f_frsize)))
}

fn used(total: u64, free: u64) -> u32 {
    let counted = total.clamp(1, DISK_COUNTED);
    let free = u128::from(free.min(counted)) * 100 / u128::from(counted);
    100 - u32::try_from(free).unwrap_or(100).min(100)
}

/// Per cent of the memory that this process may have, that it has.
pub fn memory_used_percent() -> io::Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mine = kib(&status, "RssAnon:").ok_or(io::ErrorKind::InvalidData)?;
    let machine =
        kib(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").ok_or(io::ErrorKind::InvalidData)?;
    let most = machine.min(group_limit_kib().unwrap_or(u64::MAX)).max(1);
    Ok(u32::try_from(mine.saturating_mul(100) / most).unwrap_or(100).min(100))
}

/// Per cent of the machine's memory that is in use, by whomever.
pub fn system_memory_used_percent() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = kib(&text, "MemTotal:").ok_or(io::ErrorKind::InvalidData)?.max(1);
    let free = kib(&text, "MemAvailable:").ok_or(io::ErrorKind::InvalidData)?;
    Ok(u32::try_from(total.saturating_sub(free).saturating_mul(100) / total).unwrap_or(100))
}

/// The limit of the control group, where there is one (systemd's MemoryMax, a container's memory).
fn group_limit_kib() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = fs::read_to_string(Path::new("/sys/fs/cgroup").join(path).join("memory.max")).ok()?;
    limit.trim().parse::<u64>().ok().map(|bytes| bytes / 1024)
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_is_full_early_and_a_large_one_late() {
        const GIB: u64 = 1 << 30;
        assert_eq!(used(10 * GIB, GIB), 90);
        assert_eq!(used(4000 * GIB, 200 * GIB), 0);
        assert_eq!(used(4000 * GIB, 6 * GIB), 91);
        assert_eq!(used(10 * GIB, 0), 100);
        assert_eq!(used(0, 0), 100);
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(disk_used_percent(Path::new("/")).unwrap() <= 100);
        assert!(memory_used_percent().unwrap() <= 100);
        assert!(system_memory_used_percent().unwrap() <= 100);
        assert_eq!(kib("VmRSS:\t  12 kB\nRssAnon:\t   34 kB\n", "RssAnon:"), Some(34));
    }
}
