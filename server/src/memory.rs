//! How the C library's allocator gives memory back.
//!
//! Checking a password fills 19 MiB for a moment. By default glibc learns from the first such block to keep the next ones
//! in its arenas, one arena a thread, and a server that has seen some sign-ins holds hundreds of MiB of nothing.

#![allow(unsafe_code, reason = "mallopt has no safe form")]

/// Larger blocks are mapped on their own and given back at once.
const MAPPED_FROM: libc::c_int = 4 << 20;
/// Free memory at the end of the heap that is worth keeping.
const KEPT_AT_THE_END: libc::c_int = 8 << 20;
/// Arenas, however many threads there are.
const ARENAS: libc::c_int = 4;

/// To be called first, while there is one thread.
#[cfg(target_env = "gnu")]
pub fn return_what_is_free() {
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM),
        (libc::M_TRIM_THRESHOLD, KEPT_AT_THE_END),
        (libc::M_ARENA_MAX, ARENAS),
    ] {
        // SAFETY: mallopt takes two plain integers, changes only the allocator's own settings, and is called before any
        // other thread exists. A value that it does not know is refused by its answer, which changes nothing for us.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
pub fn return_what_is_free() {}
