//! Files that the system did not let us have: rooms report them here, the process that they run in keeps them.
//!
//! No IO and no clock: whoever observes notes the time. Without an observer nothing is kept.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// What was denied: a path, and what was to be done with it (`read`, `write`, `open`, `listen`…).
pub type Observer = fn(path: &Path, operation: &'static str);

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Called once, by the process. Later calls change nothing.
pub fn observe(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// Reports a denial, if the error is one; other errors are nobody's business here.
pub fn report(path: &Path, operation: &'static str, error: &io::Error) {
    if error.kind() == io::ErrorKind::PermissionDenied
        && let Some(observer) = OBSERVER.get()
    {
        observer(path, operation);
    }
}

/// The same for a result, which is handed on: `report_in(path, "read", fs::read(path))?`.
pub fn report_in<T>(path: &Path, operation: &'static str, result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        report(path, operation, error);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static SEEN: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn only_denials_are_reported() {
        observe(|path, operation| {
            assert_eq!((path, operation), (Path::new("/x"), "read"));
            SEEN.fetch_add(1, Ordering::Relaxed);
        });
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        report(Path::new("/x"), "read", &denied());
        report(Path::new("/y"), "read", &io::Error::from(io::ErrorKind::NotFound));
        assert!(report_in::<()>(Path::new("/x"), "read", Err(denied())).is_err());
        assert_eq!(report_in(Path::new("/z"), "read", Ok(1)).ok(), Some(1));
        assert_eq!(SEEN.load(Ordering::Relaxed), 2);
    }
}
