//! The process' allocator and the one option of it that we set.

use std::ffi::c_int;

/// Telemetry decoding and queries allocate a lot in short bursts: mimalloc took a third of the time of glibc's
/// allocator off them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in mimalloc.h, where options are numbered from 0; the binding does not name it.
const PURGE_DELAY: c_int = 15;

/// Gives freed pages back to the system at once. mimalloc holds them for a while to save system calls, and so does each
/// thread for itself: under an overload of log requests with a limit of 256 MiB, the resident size peaked at 408 to
/// 461 MiB with the default and at 231 MiB this way.
#[expect(unsafe_code, reason = "mimalloc's options are a C function; setting one has no safe binding")]
pub(crate) fn give_back_at_once() {
    // SAFETY: mi_option_set takes any option number and value, checks the number, and may be called at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}
