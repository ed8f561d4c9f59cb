use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::super::activity::Activity;
use super::Mended;

/// Gives pieces as they are, one for each read.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let left = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !left.is_empty() {
                self.0.push_front(left);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What a reader with a buffer of `room` bytes gets of the pieces. Before each piece whose number is in `rests`, a request
/// has been answered; before all others one is in flight, or none came yet.
async fn read(pieces: &[&[u8]], rests: &[usize], room: usize) -> String {
    let activity = Activity::new();
    let mut stream = Mended::new(Pieces(VecDeque::new()), Arc::clone(&activity));
    let mut all = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let request = (number > 0).then(|| activity.enter(false));
        let _in_flight = request.filter(|_| !rests.contains(&number));
        stream.stream.0.push_back(piece.to_vec());
        let mut buffer = vec![0; room];
        loop {
            let count = stream.read(&mut buffer).await.expect("pieces do not fail");
            if count == 0 {
                break;
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }
    String::from_utf8(all).expect("text")
}

const RAW: &[u8] = b"GET /q?x=up{a=\"b\"}#<>\\^`| HTTP/1.1\r\nhost: {\"x\"}\r\n\r\n";
const MENDED: &str = "GET /q?x=up%7Ba=%22b%22%7D%23%3C%3E%5C%5E%60%7C HTTP/1.1\r\nhost: {\"x\"}\r\n\r\n";

#[tokio::test]
async fn only_the_first_line_of_a_request_is_mended_whatever_the_buffer() {
    for room in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(read(&[RAW], &[], room).await, MENDED, "{room}");
        for cut in 1..RAW.len() {
            let (first, second) = RAW.split_at(cut);
            assert_eq!(read(&[first, second], &[], room).await, MENDED, "{room} {cut}");
        }
    }
    let utf8 = "GET /q?x=\u{fc} HTTP/1.1\r\n\r\n";
    assert_eq!(read(&[utf8.as_bytes()], &[], 64).await, "GET /q?x=%C3%BC HTTP/1.1\r\n\r\n");
    let good = "POST /v1/logs HTTP/1.1\r\na: \"\"\r\n\r\n{\"a\": \"b\"}";
    assert_eq!(read(&[good.as_bytes()], &[], 64).await, good);
}

#[tokio::test]
async fn a_request_after_an_answer_is_mended_where_its_start_is_sure() {
    let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).expect("text");
    // After a head, and after a body in chunks.
    let chunks = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n";
    assert_eq!(read(&[RAW, RAW], &[1], 64).await, format!("{MENDED}{MENDED}"));
    assert_eq!(read(&[chunks.as_bytes(), RAW], &[1], 4096).await, format!("{chunks}{MENDED}"));
    // While a request is in flight, after a body with a length, and in the midst of a head.
    let length = "POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n{";
    let half = "GET / HTTP/1.1\r\nhost: x\r\nb: ";
    assert_eq!(read(&[RAW, RAW], &[], 64).await, format!("{MENDED}{}", text(RAW)));
    for before in [length, half] {
        assert_eq!(read(&[before.as_bytes(), RAW], &[1], 64).await, format!("{before}{}", text(RAW)));
    }
}

#[tokio::test]
async fn what_is_no_request_passes_as_it_came() {
    // The hello of TLS, the preface of HTTP/2, an empty line, a line without an end.
    let long = format!("GET /{}", "\"".repeat(300_000));
    for other in ["\u{16}\u{3}\u{1}{\"\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{\"", "\r\n{\"", "{\"\n"] {
        assert_eq!(read(&[other.as_bytes()], &[], 64).await, other);
    }
    let got = read(&[long.as_bytes()], &[], 4096).await;
    assert!(
        got.len() < 300_000 + 2 * (70 << 10) && got.ends_with("\"\"\""),
        "only its first 64 KiB are mended: {}",
        got.len()
    );
}
