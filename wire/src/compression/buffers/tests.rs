use super::{BYTES_MAX, BYTES_MIN, Buffers};

const LEN: usize = 900 << 10;

/// Buffers of a test's own.
fn buffers() -> &'static Buffers {
    Box::leak(Box::new(Buffers::new()))
}

#[test]
fn a_buffer_is_used_again_for_a_body_of_about_its_size_and_shows_only_that() {
    let buffers = buffers();
    let mut first = buffers.take(LEN);
    first.as_mut().fill(7);
    let bytes = first.into_bytes(LEN - 3);
    assert_eq!((bytes.len(), bytes.iter().all(|byte| *byte == 7)), (LEN - 3, true));
    let slice = bytes.slice(10..20);
    drop(bytes);
    assert!(buffers.0.lock().is_empty(), "a slice of it is still held");
    drop(slice);
    let again = buffers.take(LEN - 1000);
    assert_eq!((again.as_ref().len(), again.bytes.len()), (LEN - 1000, LEN));
    drop(again);
    assert_eq!(buffers.take(LEN / 2).bytes.len(), LEN / 2, "too small a body for it");
    assert_eq!(buffers.take(LEN + 1).bytes.len(), LEN + 1, "too large a one");
    buffers.forget();
    assert!(buffers.0.lock().is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_small_and_large_bodies_are_not() {
    let buffers = buffers();
    let many: Vec<_> = (0..20).map(|step| buffers.take(BYTES_MIN + step)).collect();
    drop(many);
    assert_eq!(buffers.0.lock().len(), super::KEPT_MAX);
    buffers.forget();
    for len in [0, 1, BYTES_MIN - 1, BYTES_MAX + 1] {
        let mut buffer = buffers.take(len);
        buffer.as_mut().fill(1);
        let bytes = buffer.into_bytes(len / 2);
        assert_eq!(bytes, vec![1; len / 2]);
        drop(bytes);
        assert!(buffers.0.lock().is_empty(), "{len}");
    }
}
