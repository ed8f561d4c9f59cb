use super::{Answer, NameServers, question, read};

#[test]
fn resolv_conf_says_whom_and_what_to_ask() {
    let text = "# made by hand\nnameserver 10.0.0.1\nnameserver fd00::1 \nnameserver nonsense\n\
                search svc.cluster.local cluster.local.\noptions timeout:1 ndots:3\n";
    let found = NameServers::parse(text);
    let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1:53", "[fd00::1]:53"]);
    assert_eq!(found.names("a.b"), ["a.b.svc.cluster.local", "a.b.cluster.local", "a.b"]);
    assert_eq!(found.names("a.b.c.d")[0], "a.b.c.d");
    assert_eq!(found.names("a.b."), ["a.b"]);
    assert_eq!(NameServers::parse("").servers[0].to_string(), "127.0.0.1:53");
}

/// An answer with one record whose target ends in a name of the question, byte by byte as RFC 1035 has it.
fn answered(question: &[u8]) -> Vec<u8> {
    let mut out = question.to_vec();
    (out[2], out[3], out[7]) = (0x81, 0x80, 2);
    // An alias in front, and then the record of the name it stands for.
    out.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 14]);
    out.extend([0xc0, 14, 0, 33, 0, 1, 0, 0, 0, 1, 0, 12, 0, 0, 0, 0, 0x2a, 0x95, 3]);
    out.extend(b"one\xc0\x0e");
    out
}

#[test]
fn an_answer_is_read_as_it_is_defined() {
    let question = question(0x1234, "s.test").expect("a name");
    let want = Answer::Services(vec![("one.test".to_owned(), 10901)]);
    assert_eq!(read(&question, &answered(&question)), Some(Ok(want)));
    let with = |at: usize, byte: u8| {
        let mut message = answered(&question);
        message[at] = byte;
        read(&question, &message)
    };
    assert_eq!(with(2, 0x83), Some(Ok(Answer::Cut)));
    assert_eq!(with(3, 0x83), Some(Ok(Answer::NoSuchName)));
    assert_eq!(with(3, 0x82), Some(Err("it answers with the code 2".to_owned())));
    // Another number, no answer, another name, another kind.
    for (at, byte) in [(1, 0), (2, 1), (13, b't'), (21, 1)] {
        assert_eq!(with(at, byte), None, "{at}");
    }
    // Case is the server's to choose.
    assert!(matches!(with(13, b'S'), Some(Ok(Answer::Services(_)))));
}

#[test]
fn damaged_answers_are_refused_and_end() {
    let question = question(7, "s.test").expect("a name");
    let whole = answered(&question);
    for end in 0..whole.len() {
        let answer = read(&question, &whole[..end]);
        assert!(!matches!(answer, Some(Ok(Answer::Services(_)))), "{end} of {} bytes", whole.len());
    }
    for at in question.len()..whole.len() {
        for byte in [0, 1, 63, 64, 128, 192, 255] {
            let mut message = whole.clone();
            message[at] = byte;
            // Whatever it says: it is no panic, and no loop.
            let _ = read(&question, &message);
        }
    }
    // A name that leads to itself.
    let mut loops = whole;
    let last = loops.len() - 1;
    loops[last] = (last - 1) as u8;
    assert_eq!(read(&question, &loops), Some(Err("its answer is damaged".to_owned())));
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    for bad in ["", "a..b", &"x".repeat(64), &"abc.".repeat(64)] {
        question(1, bad).expect_err(bad);
    }
}
