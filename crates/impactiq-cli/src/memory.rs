//! How much memory the process has used: the only place with unsafe code in this crate.
//!
//! The system tells it through `getrusage`, a C function that fills a plain struct. The
//! safe twin in the tests reads the same number from /proc.

/// The largest resident set size of this process so far, in bytes; 0 where unknown.
#[cfg(unix)]
pub fn peak_rss_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: RUSAGE_SELF is a valid target and `usage` points to memory of the right type,
    // zeroed, which is a valid rusage (it has integers only), so reading it is sound even if
    // the call failed.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.ru_maxrss).unwrap_or_default() * unit
}

/// The largest resident set size of this process so far, in bytes; 0 where unknown.
#[cfg(not(unix))]
pub fn peak_rss_bytes() -> u64 {
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn safe_twin() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    #[test]
    fn the_system_and_proc_agree() {
        let big = vec![1u8; 64 << 20];
        assert!(big.iter().map(|&b| u64::from(b)).sum::<u64>() == 64 << 20);
        let (peak, twin) = (peak_rss_bytes() as f64, safe_twin().unwrap() as f64);
        assert!(peak >= (64 << 20) as f64);
        // The system's figure starts with what the parent held between fork and exec, so it
        // may be larger than this program's own, never smaller (but for a page or two).
        assert!(peak >= twin * 0.99, "{peak} {twin}");
        assert!(peak <= twin * 4.0, "{peak} {twin}");
    }
}
