use std::net::Ipv4Addr;
use std::sync::Arc;

use runtime::{SystemClock, Tasks};
use tokio::net::UdpSocket;

use super::dns::NameServers;
use super::{Discovery, Name};
use crate::endpoints::{EndpointSet, EndpointSettings};

/// Answers of a name server, by the bytes of RFC 1035: two SRV records (RFC 2782) for one name, no such name for others.
fn answer(question: &[u8]) -> Vec<u8> {
    let name = b"\x05_grpc\x04_tcp\x06stores\x04test\x00";
    let asked = &question[12..];
    let is_known = asked.len() > name.len() + 2
        && asked[..name.len()].eq_ignore_ascii_case(name)
        && asked[name.len()..name.len() + 2] == [0, 33];
    let end = asked.iter().position(|byte| *byte == 0).expect("a name ends with an empty label") + 5;
    // Recursion was desired and is available; 3 is NXDOMAIN.
    let (code, count) = if is_known { (0, 2) } else { (3, 0) };
    let mut out = question[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    out.extend(&asked[..end]);
    if is_known {
        for (target, port) in [(&b"\x03127\x010\x010\x011\x00"[..], 10901_u16), (b"\x09localhost\x00", 10902)]
        {
            // The name is the question's; SRV, IN, 60 s, the length; priority, weight, port.
            out.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, target.len() as u8 + 6, 0, 1, 0, 1]);
            out.extend(port.to_be_bytes());
            out.extend(target);
        }
    }
    out
}

/// A discovery that asks a name server on loopback.
async fn discovery(tasks: &Tasks) -> Discovery {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let server = socket.local_addr().expect("it is bound");
    tasks.spawn("name-server", async move {
        let mut buffer = [0; 512];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&answer(&buffer[..count]), peer).await.expect("the asker listens");
        }
    });
    Discovery { servers: Some(NameServers::one(server)) }
}

fn name(address: &str) -> Name {
    Name::parse(address).expect("good").expect("a name")
}

#[tokio::test]
async fn a_service_stands_for_its_targets_and_their_addresses() {
    let tasks = Tasks::new();
    let discovery = discovery(&tasks).await;
    let found = async |address: &str| {
        let mut found = discovery.addresses(&name(address)).await.expect("answered");
        found.sort();
        found
    };
    assert_eq!(found("dnssrvnoa+_grpc._tcp.stores.test.").await, ["127.0.0.1:10901", "localhost:10902"]);
    assert_eq!(found("dnssrvnoa+_grpc._tcp.stores.test.:7").await, ["127.0.0.1:7", "localhost:7"]);
    assert_eq!(found("dnssrvnoa+_grpc._tcp.nothing.test.").await, [""; 0]);
    assert_eq!(found("dns+127.0.0.1:5").await, ["127.0.0.1:5"]);
    assert_eq!(found("dnsdualstack+[::1]:5").await, ["[::1]:5"]);
    // What else localhost is depends on the machine.
    for (address, ports) in
        [("dns+localhost:5", &[5][..]), ("dnssrv+_grpc._tcp.stores.test.", &[10901, 10902])]
    {
        let found = found(address).await;
        let missing = ports.iter().find(|port| !found.contains(&format!("127.0.0.1:{port}")));
        assert_eq!(missing, None, "{address}: {found:?}");
    }
}

#[tokio::test]
async fn stores_of_a_service_are_asked() {
    let tasks = Tasks::new();
    let discovery = discovery(&tasks).await;
    let settings = EndpointSettings {
        address: "dnssrvnoa+_grpc._tcp.stores.test.:1".to_owned(),
        strict: true,
        ..EndpointSettings::default()
    };
    let set = EndpointSet::start_with(&[settings], discovery, Arc::new(SystemClock), &tasks)
        .expect("good settings");
    set.known().await;
    let mut asked: Vec<String> = set.living().into_iter().map(|(one, _)| one.address.clone()).collect();
    asked.sort();
    assert_eq!(asked, ["127.0.0.1:1", "localhost:1"]);
}

#[test]
fn addresses_that_name_nothing_are_refused() {
    for (address, want) in [
        ("dns+host", "it has no port"),
        ("dnsdualstack+host", "it has no port"),
        ("dnssrv+", "it has no name"),
        ("dnssrv+host:http", "\"http\" is no port"),
        ("srv+host:1", "srv+ is none of dns+, dnsdualstack+, dnssrv+, dnssrvnoa+"),
    ] {
        let error = Name::parse(address).expect_err("refused").to_string();
        assert!(error.contains(want), "{address}: {error}");
    }
    assert_eq!(Name::parse("host:1").expect("good"), None);
}
