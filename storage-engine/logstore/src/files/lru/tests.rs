use super::Lru;

fn keys(lru: &Lru<u32, u32>) -> Vec<u32> {
    let mut keys: Vec<u32> = lru.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_oldest_is_what_was_not_used_for_the_longest_time() {
    let mut lru = Lru::default();
    for key in [1, 2, 3] {
        lru.insert(key, key * 10, 5);
    }
    assert_eq!(lru.get(&1), Some(&mut 10));
    assert_eq!(lru.get(&9), None);
    lru.insert(2, 21, 7);
    assert_eq!((lru.len(), lru.bytes()), (3, 17));
    assert!(lru.has(&3), "to ask is no use");
    let out: Vec<u32> = std::iter::from_fn(|| lru.remove_oldest()).collect();
    assert_eq!((out, lru.len(), lru.bytes()), (vec![30, 10, 21], 0, 0));
}

#[test]
fn what_holds_no_bytes_is_never_the_oldest() {
    let mut lru = Lru::default();
    lru.insert(1, 10, 0);
    lru.insert(2, 20, 1);
    assert_eq!(lru.get(&1), Some(&mut 10));
    assert_eq!((lru.remove_oldest(), lru.remove_oldest()), (Some(20), None));
    assert_eq!(keys(&lru), [1]);
    lru.insert(1, 11, 3);
    assert_eq!((lru.remove_oldest(), lru.bytes()), (Some(11), 0));
}

/// Against a list that is searched from its start, with uses, replacements and removals in any order.
#[test]
fn any_order_of_uses_leaves_what_a_plain_list_has() {
    let (mut lru, mut list) = (Lru::default(), Vec::<(u32, u32, usize)>::new());
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for step in 0..20_000u32 {
        let key = random(12) as u32;
        match random(5) {
            0 => {
                let bytes = random(4) as usize;
                list.retain(|held| held.0 != key);
                list.push((key, step, bytes));
                lru.insert(key, step, bytes);
            }
            1 | 2 => {
                let at = list.iter().position(|held| held.0 == key);
                let held = at.map(|at| list.remove(at));
                list.extend(held);
                assert_eq!(lru.get(&key).copied(), held.map(|held| held.1), "step {step}");
            }
            3 => {
                let at = list.iter().position(|held| held.0 == key);
                assert_eq!(lru.remove(&key), at.map(|at| list.remove(at).1), "step {step}");
            }
            _ => {
                let at = list.iter().position(|held| held.2 > 0);
                assert_eq!(lru.remove_oldest(), at.map(|at| list.remove(at).1), "step {step}");
            }
        }
        assert_eq!(
            (lru.len(), lru.bytes()),
            (list.len(), list.iter().map(|held| held.2).sum()),
            "step {step}"
        );
        assert_eq!(lru.order.len(), list.iter().filter(|held| held.2 > 0).count(), "LRU-1, step {step}");
    }
}
