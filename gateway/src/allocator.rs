//! The process' allocator and the options of it that we set.

use std::ffi::{c_int, c_long};

/// Telemetry decoding and queries allocate a lot in short bursts: mimalloc took a third of the time of glibc's
/// allocator off them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Options of mimalloc.h, where they are numbered from 0; the binding does not name these.
const PURGE_DELAY: c_int = 15;
const ALLOW_TRANSPARENT_HUGE_PAGES: c_int = 43;

/// How long mimalloc holds a freed page, ms, and ten times that for larger areas: requests and flushes take buffers of
/// the same sizes again and again. Each thread holds pages for itself, so that with mimalloc's default of a second the
/// resident size passed its bound under an overload of log requests; with this one it peaked at 219 MiB of 320.
const PURGE_DELAY_MS: c_long = 10;

/// Sets mimalloc up for memory that is taken and given back in bursts.
///
/// Without huge pages: mimalloc asks for them, the kernel then clears 2 MiB where a column of 40 KiB is wanted, and
/// what is given back later is not given back whole. Storing log records took 3.8 CPU-µs each with them and 3.4
/// without, at a resident size of 195 and 140 MiB.
pub(crate) fn set_up() {
    set(PURGE_DELAY, PURGE_DELAY_MS);
    set(ALLOW_TRANSPARENT_HUGE_PAGES, 0);
    runtime::set_give_back(give_back);
    // For what mimalloc reserved before `main`. A kernel that does not know the call goes on as before.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[expect(unsafe_code, reason = "mimalloc's options are a C function; setting one has no safe binding")]
fn set(option: c_int, value: c_long) {
    // SAFETY: mi_option_set takes any option number and value, checks the number, and may be called at any time.
    unsafe { libmimalloc_sys::mi_option_set(option, value) }
}

/// Gives the pages back that this thread has freed and holds for later, and those that no thread owns any more; with
/// them the buffers that wait for request bodies.
fn give_back() {
    wire::compression::forget_buffers();
    collect();
}

#[expect(unsafe_code, reason = "mimalloc's collection is a C function without a safe binding")]
fn collect() {
    // SAFETY: mi_collect concerns memory that is free, takes any bool, and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
