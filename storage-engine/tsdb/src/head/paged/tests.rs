//! Positions stay, holes stay empty, and emptied pages give their memory back.

use super::{PAGE, Paged};

#[test]
fn positions_stay_and_empty_pages_give_their_memory_back() {
    let mut paged = Paged::new();
    for i in 0..PAGE + 10 {
        paged.push(i);
    }
    for i in 0..PAGE {
        assert_eq!(paged.remove(i as u32), Some(i));
        assert_eq!(paged.remove(i as u32), None);
    }
    assert_eq!(paged.pages[0].elements.capacity(), 0);
    assert_eq!((paged.get(0), paged.get(PAGE as u32)), (None, Some(&PAGE)));
    paged.skip_to(4 * PAGE as u32 + 5);
    assert_eq!(paged.pages[3].elements.capacity(), 0, "a page of holes takes nothing");
    paged.push(7);
    assert_eq!(paged.len(), 4 * PAGE + 6);
    assert_eq!(paged.get(4 * PAGE as u32 + 5), Some(&7));
    assert_eq!(paged.get(4 * PAGE as u32 + 6), None);
    for i in PAGE..PAGE + 10 {
        paged.remove(i as u32);
    }
    assert_eq!(paged.iter().collect::<Vec<_>>(), [(4 * PAGE as u32 + 5, &7)]);
}
