//! Rows and segments of a server's store as a failing disk, or a program that errs, changes them: behind the server's back.
//!
//! It goes by python3, whose library has SQLite.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// CRC-32C, and a row's value as docs/store.md has it.
const SCRIPT: &str = r#"
import sqlite3, struct, sys
def crc(data):
    c = 0xFFFFFFFF
    for b in data:
        c ^= b
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    return c ^ 0xFFFFFFFF
db = sqlite3.connect(sys.argv[1], timeout=20)
what, start, value = sys.argv[2], bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4])
end = start[:-1] + bytes([start[-1] + 1])
if what == 'put':
    key, old, new = start, b'', value
else:
    key, old = db.execute('SELECT k, v FROM kv WHERE k >= ? AND k < ? ORDER BY k DESC LIMIT 1', (start, end)).fetchone()
    sealed = value + b'\0'
    new = sealed + struct.pack('>I', crc(key + sealed)) if what == 'forge' else old[:-1] + bytes([old[-1] ^ 0x40])
assert db.execute('UPDATE kv SET v = ? WHERE k = ?', (new, key)).rowcount == 1, key.hex()
db.commit()
print(key.hex(), old.hex())
"#;

fn change(data: &Path, what: &str, start: &str, value: &str) -> (String, String) {
    let out = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(data.join("store/main.db"))
        .args([what, start, value])
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{what} {start}: {}", String::from_utf8_lossy(&out.stderr));
    let (key, old) = text.trim_end_matches('\n').split_once(' ').expect("a key and a value");
    (key.to_owned(), old.to_owned())
}

/// Gives the last row whose key begins so (hexadecimal) another value under a right sum, as a program would write it.
/// What it was: key and value as stored.
pub fn forge(data: &Path, start: &str, value: &str) -> (String, String) {
    change(data, "forge", start, value)
}

/// Flips a bit of the last row whose key begins so. What it was: key and value as stored.
pub fn damage(data: &Path, start: &str) -> (String, String) {
    change(data, "break", start, "")
}

/// Puts back what [`forge`] or [`damage`] gave.
pub fn restore(data: &Path, (key, old): (&str, &str)) {
    change(data, "put", key, old);
}

fn segment(data: &Path) -> PathBuf {
    data.join("store/segments/00000001.seg")
}

/// Flips a bit shortly before the end of the first segment: in the message that was written last. A second time undoes it.
pub fn flip_in_segment(data: &Path) {
    let path = segment(data);
    let file = fs::File::options().read(true).write(true).open(&path).expect("a segment");
    let at = file.metadata().expect("its size").len() - 100;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).expect("a byte");
}
