//! Which licences we may build on. An expression is acceptable if some choice of its alternatives uses allowed ones only.

const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MPL-2.0",
    "Zlib",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "bzip2-1.0.6",
    "NCSA",
];

/// Evaluates an SPDX expression (or the old `MIT/Apache-2.0` form). Unknown names count as not allowed.
pub fn acceptable(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let ok = any(&tokens, &mut at);
    ok && at == tokens.len()
}

// expression = all *("OR" all)
fn any(tokens: &[&str], at: &mut usize) -> bool {
    let mut ok = all(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        let right = all(tokens, at);
        ok = ok || right;
    }
    ok
}

// all = one *("AND" one)
fn all(tokens: &[&str], at: &mut usize) -> bool {
    let mut ok = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        let right = one(tokens, at);
        ok = ok && right;
    }
    ok
}

// one = "(" expression ")" / name ["WITH" exception]
fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let ok = any(tokens, at);
        *at += 1;
        return ok;
    }
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    ALLOWED.contains(token)
}

#[test]
fn expressions() {
    assert!(acceptable("MIT OR Apache-2.0"));
    assert!(acceptable("MIT/Apache-2.0"));
    assert!(acceptable("GPL-3.0 OR MIT"));
    assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(acceptable("Apache-2.0 WITH LLVM-exception OR MIT"));
    assert!(!acceptable("AGPL-3.0-only"));
    assert!(!acceptable("MIT AND GPL-2.0"));
    assert!(!acceptable("(MIT"));
}
