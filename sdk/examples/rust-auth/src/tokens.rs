// SPDX-License-Identifier: Apache-2.0
//! A file of tokens, a line SUBJECT TOKEN each. Reading it waits for the disk, so this is for the worker and for start, never for
//! a shard.
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAX_BYTES: u64 = 1 << 20;
const MIN_TOKEN: usize = 16;
const O_NONBLOCK: i32 = 0o4000; // opening a FIFO must not wait for a writer

#[derive(PartialEq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

pub struct Tokens {
    path: PathBuf,
    seen: Stamp,
    entries: Vec<(String, Vec<u8>)>,
}

impl Tokens {
    /// The texts of errors name the file and the line, never a token.
    pub fn read(path: &Path) -> Result<Tokens, String> {
        let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path).map_err(|e| format!("{}: {}", path.display(), e))?;
        let meta = file.metadata().map_err(|e| format!("{}: {}", path.display(), e))?;
        if !meta.is_file() {
            return Err(format!("{}: is not a regular file", path.display()));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(format!("{}: others may read the tokens in it; run chmod 600", path.display()));
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| format!("{}: {}", path.display(), e))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("{}: is larger than 1 MiB", path.display()));
        }
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [subject, token] if token.len() >= MIN_TOKEN => entries.push((subject.to_string(), token.as_bytes().to_vec())),
                [_, _] => return Err(format!("{}:{}: a token has at least 16 bytes", path.display(), number + 1)),
                _ => return Err(format!("{}:{}: a line is SUBJECT TOKEN", path.display(), number + 1)),
            }
        }
        Ok(Tokens { path: path.to_path_buf(), seen: Stamp::of(&meta), entries })
    }

    /// Reads the file again when it is another one than before. A file that is gone or wrong is an error: who was known by it
    /// cannot be told now.
    pub fn refresh(&mut self) -> Result<(), String> {
        let meta = std::fs::metadata(&self.path).map_err(|e| format!("{}: {}", self.path.display(), e))?;
        if Stamp::of(&meta) != self.seen {
            *self = Tokens::read(&self.path)?;
        }
        Ok(())
    }

    /// Looks at every entry whatever it finds, so that the time taken does not tell the place in the file.
    pub fn find(&self, token: &[u8]) -> Option<&str> {
        let mut found = None;
        for (subject, known) in &self.entries {
            if same_secret(known, token) {
                found = Some(subject.as_str());
            }
        }
        found
    }
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Stamp {
        Stamp { inode: meta.ino(), size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// The time it takes depends on the lengths alone.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let mut difference = u8::from(a.len() != b.len());
    for (i, x) in a.iter().enumerate() {
        difference |= x ^ b.get(i).copied().unwrap_or(!x);
    }
    // Volatile, so that the compiler cannot leave the loop early.
    unsafe { std::ptr::read_volatile(&difference) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct TempFile(PathBuf);
    impl TempFile {
        fn new(name: &str, text: &str, mode: u32) -> TempFile {
            let path = std::env::temp_dir().join(format!("callgate_rust_auth_{}_{}", std::process::id(), name));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            TempFile(path)
        }
    }
    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn knows_tokens_and_follows_the_file() {
        let f = TempFile::new("follows", "# who token\nalice 0123456789abcdef\n\nbob fedcba9876543210\n", 0o600);
        let mut t = Tokens::read(&f.0).unwrap();
        assert_eq!(t.find(b"fedcba9876543210"), Some("bob"));
        for wrong in ["", "fedcba987654321", "fedcba98765432100", "fedcba9876543211", "alice"] {
            assert_eq!(t.find(wrong.as_bytes()), None, "{}", wrong);
        }
        std::fs::write(&f.0, "carol 00112233445566778899\n").unwrap();
        t.refresh().unwrap();
        assert_eq!(t.find(b"fedcba9876543210"), None);
        assert_eq!(t.find(b"00112233445566778899"), Some("carol"));
        std::fs::remove_file(&f.0).unwrap();
        assert!(t.refresh().is_err());
    }

    #[test]
    fn refuses_what_it_should_not_trust() {
        let fault = |name, text, mode| Tokens::read(&TempFile::new(name, text, mode).0).err().unwrap_or_default();
        assert!(fault("mode", "", 0o640).ends_with("run chmod 600"));
        assert!(fault("short", "alice secret\n", 0o600).ends_with(":1: a token has at least 16 bytes"));
        assert!(!fault("quiet", "alice secret\n", 0o600).contains("secret"));
        assert!(fault("words", "\nalice\n", 0o600).ends_with(":2: a line is SUBJECT TOKEN"));
        assert!(Tokens::read(Path::new("/")).is_err());
    }
}
