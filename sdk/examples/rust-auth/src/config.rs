// SPDX-License-Identifier: Apache-2.0
//! The configuration {"file": "..."}: a JSON object whose one value is a string, read without a JSON crate.

/// The value of `file`, or what is wrong: a text that names the key.
pub fn read(json: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(json).map_err(|_| "the configuration is not UTF-8".to_string())?;
    let mut r = Reader { rest: text };
    let mut file = None;
    r.token('{')?;
    while !r.take('}') {
        let key = r.string().map_err(|why| format!("a key {}", why))?;
        if key != "file" {
            return Err(format!("{}: this key is not known; there is only file", key));
        }
        r.token(':')?;
        let value = r.string().map_err(|why| format!("file: {}", why))?;
        if file.replace(value).is_some() {
            return Err("file: stands twice".to_string());
        }
        if !r.take(',') {
            r.token('}')?;
            break;
        }
    }
    r.end()?;
    match file {
        Some(f) if !f.is_empty() && f.len() <= 1024 && !f.contains('\0') => Ok(f),
        Some(_) => Err("file: must be a path of 1 to 1024 bytes".to_string()),
        None => Err("file: is missing; it names the file with the tokens".to_string()),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
    }
    fn take(&mut self, c: char) -> bool {
        self.space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    fn token(&mut self, c: char) -> Result<(), String> {
        if self.take(c) {
            return Ok(());
        }
        Err(format!("the configuration is not a JSON object: '{}' is missing", c))
    }
    fn end(&mut self) -> Result<(), String> {
        self.space();
        if self.rest.is_empty() {
            return Ok(());
        }
        Err("something follows the configuration".to_string())
    }
    fn string(&mut self) -> Result<String, String> {
        const BAD: &str = "is not a string";
        if !self.take('"') {
            return Err(BAD.to_string());
        }
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => out.push(match chars.next().map(|(_, e)| e) {
                    Some(e @ ('"' | '\\' | '/')) => e,
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    // The host writes UTF-8 as it is and escapes control characters alone: no surrogate pairs.
                    Some('u') => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + chars.next().and_then(|(_, d)| d.to_digit(16)).ok_or(BAD)?;
                        }
                        char::from_u32(code).ok_or(BAD)?
                    }
                    _ => return Err(BAD.to_string()),
                }),
                c if c < ' ' => return Err(BAD.to_string()),
                c => out.push(c),
            }
        }
        Err(BAD.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn reads_the_path() {
        assert_eq!(read(br#" { "file" : "a/\"b\"\u0041\n" } "#).unwrap(), "a/\"b\"A\n");
        assert_eq!(read("{\"file\":\"\u{e9}\"}".as_bytes()).unwrap(), "\u{e9}");
    }

    #[test]
    fn names_what_is_wrong() {
        for (json, why) in [
            ("", "'{' is missing"),
            ("{}", "file: is missing"),
            (r#"{"file": ""}"#, "file: must be a path"),
            (r#"{"file": 1}"#, "file: is not a string"),
            (r#"{"file": "a", "file": "b"}"#, "file: stands twice"),
            (r#"{"files": "a"}"#, "files: this key is not known"),
            (r#"{"file": "a"} x"#, "something follows"),
            (r#"{"file": "a\ud800"}"#, "file: is not a string"),
            (r#"{"file": "a\u0000"}"#, "file: must be a path"),
            (r#"{"file": "a"#, "file: is not a string"),
            (r#"{"file": "a" "x"}"#, "'}' is missing"),
        ] {
            let e = read(json.as_bytes()).unwrap_err();
            assert!(e.contains(why), "{}: {}", json, e);
        }
        assert!(read(b"{\"file\": \"\xff\"}").is_err());
    }
}
