use super::{JsonError, Lexer, SKIP_DEPTH_MAX, put_string};
use crate::DecodeError;

fn string(json: &str) -> Result<String, String> {
    let read = || -> Result<_, JsonError> {
        let mut lexer = Lexer::new(json.as_bytes())?;
        let text = lexer.string()?.to_owned();
        lexer.end()?;
        Ok(text)
    };
    read().map_err(|error: JsonError| DecodeError::from(error).to_string())
}

fn skip(json: &[u8]) -> Result<(), String> {
    let read = || {
        let mut lexer = Lexer::new(json)?;
        lexer.skip()?;
        lexer.end()
    };
    read().map_err(|error: JsonError| DecodeError::from(error).to_string())
}

#[test]
fn strings_are_spelled_out() {
    let check = |json: &str, expected: &str| assert_eq!(string(json).as_deref(), Ok(expected), "{json}");
    check(r#""""#, "");
    check(r#" "plain zwölf 😀" "#, "plain zwölf 😀");
    check(r#""a\"b\\c\/d\b\f\n\r\t""#, "a\"b\\c/d\u{8}\u{c}\n\r\t");
    check(r#""\u0041\u00e9\u20AC""#, "Aé€");
    check(r#""\ud83d\ude00!""#, "😀!");
    check(r#""\ud83d!""#, "\u{fffd}!");
    check(r#""\ud83d\u0041""#, "\u{fffd}A");
    check(r#""\ude00""#, "\u{fffd}");
}

#[test]
fn malformed_json_is_an_error_with_its_offset() {
    let check = |json: &[u8], expected: &str| {
        let error = skip(json).expect_err("malformed");
        assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(json));
    };
    check(b"", "got the end, expected a value at byte 0");
    check(b" ?", "got '?', expected a value at byte 1");
    check(b"{\"a\" 1}", "got a number, expected ':' at byte 5");
    check(b"{\"a\":1 \"b\":2}", "got a string, expected ',' or '}' at byte 7");
    check(b"[1 2]", "got a number, expected ',' or ']' at byte 3");
    check(b"[1,]", "got ']', expected a value at byte 3");
    check(b"{1:2}", "got a number, expected a string at byte 1");
    check(b"\"abc", "string without an end");
    check(b"\"abc\\", "string without an end");
    check(b"\"\\x\"", "unknown escape");
    check(b"\"\\u12\"", "four hex digits");
    check(b"\"a\x01\"", "control character in a string at byte 2");
    check(b"\"\xff\"", "invalid utf-8 at byte 1");
    check(b"nul", "misspelled null");
    check(b"[trve]", "misspelled true");
    for number in ["-", "01", "1.", ".5", "1e", "1e+", "+1", "--1", "1.e3"] {
        assert!(skip(number.as_bytes()).is_err(), "{number}");
    }
    check(b"{} x", "expected the end at byte 3");
    check(&[b'['; SKIP_DEPTH_MAX + 1], "nest deeper than 128");
    check(&b"{\"a\":".repeat(100_000), "nest deeper than 128");
}

#[test]
fn every_type_of_value_is_skipped() {
    let check = |json: &str| assert_eq!(skip(json.as_bytes()), Ok(()), "{json}");
    check("null");
    check(" [ true , false,null,-0,0.5,1E+3, 12e-7 ,\"x\\\"y\" , {}, [] ] ");
    check(r#"{"a":{"b":[{"c":1}]},"":""}"#);
    check(&format!("{}{}", "[".repeat(SKIP_DEPTH_MAX), "]".repeat(SKIP_DEPTH_MAX)));
}

#[test]
fn written_strings_read_back() {
    for text in ["", "plain", "quote\" back\\slash", "\n\r\t\u{1}\u{1f}\u{7f}", "zwölf 😀 \u{2028}"] {
        let mut json = Vec::new();
        put_string(&mut json, text);
        let json = String::from_utf8(json).expect("utf-8");
        assert_eq!(string(&json).as_deref(), Ok(text));
        assert_eq!(serde_json::from_str::<String>(&json).expect("valid for serde_json"), text);
    }
}
