//! Query-string and form parameters, as Go's `url.ParseQuery` and `Request.FormValue` read them.
//!
//! A GET carries them in the URL; a POST form in the body, which comes before those of the URL. Names may come more
//! than once (`match[]`).

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request};
use runtime::MemoryBudget;

use crate::server::body::{self, Announced, BodyError, ReadBody};

/// Cap on a form body, bytes (net/http's ParseForm).
const FORM_BYTES_MAX: u64 = 10 << 20;
/// Bytes of all forms that are being read. Queries have some hundred bytes; so many large ones at a time are no queries.
static FORMS: LazyLock<Arc<MemoryBudget>> = LazyLock::new(|| MemoryBudget::new(8 * FORM_BYTES_MAX));

/// Parameters in the order in which they came, body before URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the parameters of a request. The error is a sentence for the sender.
    pub async fn read(request: Request<Body>) -> Result<Self, String> {
        let (head, mut body) = request.into_parts();
        let is_form =
            head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
                let media_type = value.split(';').next().unwrap_or(value).trim();
                media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        let mut pairs = Vec::new();
        if is_form && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            // Counted as it comes: a length that is only announced must not keep others out.
            let read =
                body::read(&HeaderMap::new(), &mut body, Announced::Header, FORM_BYTES_MAX, &FORMS).await;
            let ReadBody { bytes, reservation: _reservation } = read.map_err(|error| match error {
                BodyError::TooLarge { .. } => format!("form larger than {FORM_BYTES_MAX} bytes"),
                error => format!("error parsing form values: {error}"),
            })?;
            parse(&bytes, &mut pairs)?;
        }
        if let Some(query) = head.uri.query() {
            parse(query.as_bytes(), &mut pairs)?;
        }
        Ok(Self(pairs))
    }

    /// The first value of `name`; "" counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether `name` is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn parse(text: &[u8], pairs: &mut Vec<(String, String)>) -> Result<(), String> {
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|b| *b == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        pairs.push((unescape(name)?, unescape(value)?));
    }
    Ok(())
}

/// Undoes `%XX` and `+`.
fn unescape(text: &[u8]) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3).unwrap_or_default();
                let byte = std::str::from_utf8(digits)
                    .ok()
                    .filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|d| u8::from_str_radix(d, 16).ok())
                    .ok_or_else(|| {
                        let end = (at + 3).min(text.len());
                        format!("invalid URL escape {:?}", String::from_utf8_lossy(&text[at..end]))
                    })?;
                out.push(byte);
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| "parameter is not valid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;

    use super::Form;

    fn request(method: &str, uri: &str, body: &'static str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Body::from(body))
            .expect("a valid request")
    }

    #[tokio::test]
    async fn a_posted_form_comes_before_the_url() {
        let form = Form::read(request("POST", "/q?a=url&match[]=1", "a=b%2Bc+d&match%5B%5D=2&e")).await;
        let form = form.expect("a good form");
        assert_eq!(form.get("a"), Some("b+c d"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["2", "1"]);
        assert!(form.has("e") && form.get("e").is_none() && !form.has("x"));
        let get = Form::read(request("GET", "/q?a=url", "a=body")).await.expect("a good form");
        assert_eq!(get.get("a"), Some("url"));
    }

    #[tokio::test]
    async fn broken_escapes_are_refused() {
        for (uri, want) in [
            ("/q?a=%zz", "invalid URL escape \"%zz\""),
            ("/q?a=%2", "invalid URL escape \"%2\""),
            ("/q?a=%ff", "parameter is not valid UTF-8"),
        ] {
            assert_eq!(Form::read(request("GET", uri, "")).await, Err(want.to_owned()));
        }
    }
}
