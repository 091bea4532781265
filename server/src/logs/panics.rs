//! A panic is a defect of ours. It ends one connection, is logged as an error, and is counted: tests fail on any count.

use waypost_base::metrics::Counter;

pub static PANICS: Counter = Counter::new();

/// Counts every panic of this process, on whatever thread, and logs where it happened.
pub fn count_from_now_on() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.one();
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let said = info.payload_as_str().unwrap_or("no text");
        tracing::error!(place, said, "panic: the connection or task that met it has ended");
    }));
}
