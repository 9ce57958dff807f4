//! What code may do: touch the outside world, print, be `unsafe`, add floats in no order.

use super::Finding;
use super::source::Source;

/// Crates that touch no file, network, clock, environment or global.
const PURE: [&str; 4] = ["impactiq-data", "impactiq-metrics", "impactiq-trees", "impactiq-causal"];

/// The one kernel module of a crate where `unsafe` may stand, with its safe twin beside it.
const KERNELS: [&str; 2] = [
    // Prefetching and unchecked reads of the innermost loops.
    "crates/impactiq-trees/src/kernel.rs",
    // getrusage, a C function, tells the peak memory.
    "crates/impactiq-cli/src/memory.rs",
];

/// Doors to the outside world, and to state that outlives a call.
const OUTSIDE: [(&str, &str); 14] = [
    ("std::fs", "a file"),
    ("std::net", "the network"),
    ("std::env", "the environment"),
    ("std::process", "a process"),
    ("std::io", "a stream"),
    ("Instant", "the clock"),
    ("SystemTime", "the clock"),
    ("File::open", "a file"),
    ("static mut", "a global"),
    ("thread_local!", "a global"),
    ("OnceLock", "a global"),
    ("LazyLock", "a global"),
    ("thread_rng", "randomness without a seed"),
    ("from_os_rng", "randomness without a seed"),
];

const PRINTING: [&str; 5] = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
const UNFINISHED: [&str; 2] = ["todo!", "unimplemented!"];

/// Every rule about conduct.
pub fn check(source: &Source, findings: &mut Vec<Finding>) {
    let crate_name = source.crate_name().unwrap_or("xtask");
    if PURE.contains(&crate_name) {
        pure(source, findings);
    }
    if !matches!(crate_name, "impactiq-cli" | "xtask") {
        for word in PRINTING {
            each(source, word, findings, "print", "a library returns what it has to say; the front desk prints");
        }
    }
    for word in UNFINISHED {
        each(source, word, findings, "unfinished", "what is on main works");
    }
    if !KERNELS.contains(&source.path.as_str()) {
        each(
            source,
            "unsafe",
            findings,
            "unsafe",
            "it may stand only in the crate's kernel module, listed in xtask/src/tidy/conduct.rs with its reason",
        );
    }
    unordered_sums(source, findings);
}

fn each(source: &Source, word: &str, findings: &mut Vec<Finding>, rule: &'static str, why: &str) {
    for at in source.words(word) {
        findings.push(Finding::new(source, source.line_at(at), rule, &format!("`{word}` stands here"), why));
    }
}

fn pure(source: &Source, findings: &mut Vec<Finding>) {
    for (word, what) in OUTSIDE {
        // std::io::Error and the like are vocabulary, not a door; nothing else of std::io is.
        for at in source.words(word) {
            // A cell that is filled once is a global where it is a static, and a value's own affair elsewhere.
            if word.ends_with("Lock") && !in_static(source, at) {
                continue;
            }
            findings.push(Finding::new(
                source,
                source.line_at(at),
                "pure",
                &format!("`{word}` touches {what}"),
                "data, metrics, trees and causal get what they need as an argument",
            ));
        }
    }
}

/// Whether a place stands in the declaration of a static, on however many lines.
fn in_static(source: &Source, at: usize) -> bool {
    let begins = source.code[..at].rfind([';', '{', '}']).map_or(0, |end| end + 1);
    source.code[begins..at].split_whitespace().any(|word| word == "static")
}

/// A parallel iterator's `sum` adds in an order that depends on the threads.
fn unordered_sums(source: &Source, findings: &mut Vec<Finding>) {
    let mut start = 0;
    for statement in source.code.split_inclusive(';') {
        let parallel = ["par_iter", "par_chunks", "into_par_iter", "par_bridge"].iter().find_map(|w| statement.find(w));
        if let Some(at) = parallel {
            let behind = &statement[at..];
            let sums = [".sum::<f64>", ".sum::<f32>", ".product::<f64>"];
            // The sum is of the parallel iterator itself only when no closure is open around it.
            let unordered = sums.iter().filter_map(|w| behind.find(w)).any(|end| depth(&behind[..end]) <= 0);
            if unordered && !source.in_test(start + at) {
                findings.push(Finding::new(
                    source,
                    source.line_at(start + at),
                    "order",
                    "floats are added by a parallel iterator",
                    "the order depends on the threads: sum fixed chunks and add them in order",
                ));
            }
        }
        start += statement.len();
    }
}

fn depth(code: &str) -> i32 {
    code.bytes().fold(0, |depth, b| match b {
        b'(' | b'{' | b'[' => depth + 1,
        b')' | b'}' | b']' => depth - 1,
        _ => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new(path, text), &mut findings);
        findings.into_iter().map(|f| format!("{}:{}", f.rule, f.line)).collect()
    }

    #[test]
    fn pure_crates_touch_nothing_outside() {
        for line in [
            "use std::fs;",
            "let t = Instant::now();",
            "std::env::var(x)",
            "static mut A: u8 = 0;",
            "use std::io;",
            "static A: OnceLock<u8> = made();",
        ] {
            assert_eq!(rules("crates/impactiq-trees/src/a.rs", line), ["pure:1"], "{line}");
            assert!(rules("crates/impactiq-io/src/a.rs", line).is_empty(), "{line}");
        }
        let global = "static A:\n    OnceLock<u8> = made();";
        assert_eq!(rules("crates/impactiq-trees/src/a.rs", global), ["pure:2"]);
        assert!(rules("crates/impactiq-trees/src/a.rs", "struct A { b: &'static str, c: OnceLock<u8> }").is_empty());
        let test = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(rules("crates/impactiq-data/src/a.rs", test).is_empty());
        assert!(rules("crates/impactiq-data/src/a.rs", "// no std::fs here\nstruct Instantly;\n").is_empty());
    }

    #[test]
    fn libraries_do_not_print_and_nothing_is_left_unfinished() {
        assert_eq!(rules("crates/impactiq-io/src/a.rs", "fn a() { println!(); }"), ["print:1"]);
        assert!(rules("crates/impactiq-cli/src/a.rs", "fn a() { println!(); }").is_empty());
        assert_eq!(rules("crates/impactiq-cli/src/a.rs", "\nfn a() { todo!() }"), ["unfinished:2"]);
    }

    #[test]
    fn unsafe_stands_in_kernel_modules_only() {
        assert_eq!(rules("crates/impactiq-io/src/a.rs", "fn a() { unsafe { b() } }"), ["unsafe:1"]);
        assert!(rules(KERNELS[0], "fn a() { unsafe { b() } }").is_empty());
        assert!(rules("crates/impactiq-io/src/a.rs", "// unsafe\n#![deny(unsafe_op_in_unsafe_fn)]").is_empty());
    }

    #[test]
    fn sums_of_parallel_iterators_are_found_and_sums_inside_a_task_are_not() {
        assert_eq!(
            rules("crates/impactiq-io/src/a.rs", "let s = v.par_iter().map(|x| f(x)).sum::<f64>();"),
            ["order:1"]
        );
        let inside = "let s: Vec<f64> = v.par_chunks(9).map(|c| c.iter().sum::<f64>()).collect();";
        assert!(rules("crates/impactiq-io/src/a.rs", inside).is_empty());
        assert!(rules("crates/impactiq-io/src/a.rs", "let n = v.par_iter().map(|x| f(x)).sum::<u64>();").is_empty());
    }
}
