//! SRV records (RFC 2782) from the name servers of the system, which has no call for them: one question over UDP, and over
//! TCP when the answer does not fit (RFC 1035).
//!
//! What a server says is trusted as far as its answer belongs to the question: number, name and kind have to be those
//! that were asked for. Answers are at most 64 KiB, and names in them are followed backwards only, so that they end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Where the system says whom it asks (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// How long one server may take: less than a look-up may, so that a second one is asked.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest message over UDP without extensions.
const UDP_BYTES_MAX: usize = 512;
/// Dots from which on a name is asked for as it is first (`ndots`).
const DOTS_DEFAULT: usize = 1;
/// Domains of `search` that are tried.
const SEARCHED_MAX: usize = 16;
const HEADER_BYTES: usize = 12;
const SRV: u16 = 33;
const INTERNET: u16 = 1;
/// The code of a name that does not exist.
const NO_SUCH_NAME: u8 = 3;
/// Names are at most this long with their lengths.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// Who is asked, and for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameServers {
    servers: Vec<SocketAddr>,
    /// Domains that short names are in.
    search: Vec<String>,
    dots: usize,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Services(Vec<(String, u16)>),
    NoSuchName,
    /// It does not fit into a datagram.
    Cut,
}

impl NameServers {
    /// Those that the system asks now.
    pub(super) fn of_system() -> Result<Self, String> {
        let text = std::fs::read_to_string(RESOLV_CONF);
        text.map(|text| Self::parse(&text)).map_err(|error| format!("cannot read {RESOLV_CONF}: {error}"))
    }

    /// One server.
    #[cfg(test)]
    pub(super) fn one(server: SocketAddr) -> Self {
        Self { servers: vec![server], search: Vec::new(), dots: DOTS_DEFAULT }
    }

    /// What resolv.conf says; without a server it is the one of this machine, as for the system.
    fn parse(text: &str) -> Self {
        let mut found = Self { servers: Vec::new(), search: Vec::new(), dots: DOTS_DEFAULT };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                Some("search" | "domain") => {
                    found.search = words.take(SEARCHED_MAX).map(str::to_owned).collect();
                }
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    found.dots = dots.unwrap_or(found.dots);
                }
                _ => {}
            }
        }
        if found.servers.is_empty() {
            found.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        found
    }

    /// Targets and ports of a name's SRV records; none when it has none.
    pub(super) async fn services(&self, name: &str) -> Result<Vec<(String, u16)>, String> {
        for name in self.names(name) {
            match self.ask(&name).await? {
                Answer::Services(services) if !services.is_empty() => return Ok(services),
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// The names that a name may be short for, in the order in which they are asked for.
    fn names(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.')));
        let mut names: Vec<String> = searched.collect();
        let is_long = name.matches('.').count() >= self.dots;
        names.insert(if is_long { 0 } else { names.len() }, name.to_owned());
        names
    }

    /// The answer of the first server that has one.
    async fn ask(&self, name: &str) -> Result<Answer, String> {
        let mut fault = String::new();
        for server in &self.servers {
            let question = question(rand::random(), name)?;
            let asked = timeout(SERVER_TIMEOUT, ask_server(*server, &question)).await;
            match asked.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
                Ok(answer) => return Ok(answer),
                Err(error) => fault = format!("the name server {server}, asked for {name}: {error}"),
            }
        }
        Err(fault)
    }
}

async fn ask_server(server: SocketAddr, question: &[u8]) -> Result<Answer, String> {
    let failed = |error: std::io::Error| error.to_string();
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(question).await.map_err(failed)?;
    let mut message = vec![0; UDP_BYTES_MAX];
    let answer = loop {
        let count = socket.recv(&mut message).await.map_err(failed)?;
        // What belongs to no question of ours is left lying.
        if let Some(read) = read(question, &message[..count]) {
            break read?;
        }
    };
    if answer != Answer::Cut {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let length = u16::try_from(question.len()).map_err(|error| error.to_string())?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(failed)?;
    read(question, &message).unwrap_or_else(|| Err("it answers another question".to_owned()))
}

/// The message that asks for SRV records of a name.
fn question(number: u16, name: &str) -> Result<Vec<u8>, String> {
    let mut out = number.to_be_bytes().to_vec();
    // Recursion is desired; one question.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|_| (1..=LABEL_BYTES_MAX).contains(&label.len()));
        let wrong =
            || format!("{name:?} is no name: {label:?} has {} bytes, allowed are 1 to 63", label.len());
        out.push(length.ok_or_else(wrong)?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - HEADER_BYTES > NAME_BYTES_MAX {
        return Err(format!("{name:?} is no name: it has more than {NAME_BYTES_MAX} bytes"));
    }
    for number in [SRV, INTERNET] {
        out.extend(number.to_be_bytes());
    }
    Ok(out)
}

/// Reads what follows a question as the answer of a name server, for fuzz targets.
pub fn read_name_server_answer(flags: [u8; 2], count: u8, answers: &[u8]) {
    let Ok(question) = question(0, "s.test") else { return };
    let mut message = [&question[..], answers].concat();
    (message[2], message[3], message[7]) = (flags[0] | 0x80, flags[1], count);
    if let Some(Ok(Answer::Services(services))) = read(&question, &message) {
        assert!(services.len() <= usize::from(count), "there are no more than were announced");
    }
}

/// What a message says to a question; `None` when it is no answer to it.
fn read(question: &[u8], message: &[u8]) -> Option<Result<Answer, String>> {
    let is_answer = message.len() >= question.len()
        && message[..2] == question[..2]
        && message[2] & 0x80 != 0
        && message[4..6] == [0, 1]
        && message[HEADER_BYTES..question.len()].eq_ignore_ascii_case(&question[HEADER_BYTES..]);
    if !is_answer {
        return None;
    }
    Some(match (message[2] & 2 != 0, message[3] & 15) {
        (true, _) => Ok(Answer::Cut),
        (_, NO_SUCH_NAME) => Ok(Answer::NoSuchName),
        (_, 0) => {
            let count = u16::from_be_bytes([message[6], message[7]]);
            let found = records(message, question.len(), count);
            found.map(Answer::Services).ok_or_else(|| "its answer is damaged".to_owned())
        }
        (_, code) => Err(format!("it answers with the code {code}")),
    })
}

/// The SRV records among the answers; `None` when they are damaged.
fn records(message: &[u8], mut at: usize, count: u16) -> Option<Vec<(String, u16)>> {
    let mut found = Vec::new();
    for _ in 0..count {
        at = name(message, at)?.1;
        let number = |offset: usize| {
            let bytes = message.get(at + offset..at + offset + 2)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        // Kind, class, seconds of life, length; priority, weight, port, target.
        let (kind, class, length) = (number(0)?, number(2)?, usize::from(number(8)?));
        if (kind, class) == (SRV, INTERNET) {
            let port = number(14)?;
            let (target, end) = name(message, at + 16)?;
            if end != at + 10 + length {
                return None;
            }
            // The root is how a service says that it is not there.
            if !target.is_empty() {
                found.push((target, port));
            }
        }
        at += 10 + length;
        if at > message.len() {
            return None;
        }
    }
    Some(found)
}

/// A name in a message, and where it ends there; parts of it may be those of a name in front of it.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut end, mut limit) = (String::new(), start, None, start);
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some((text, end.unwrap_or(at + 1))),
            length @ 1..=LABEL_BYTES_MAX => {
                let label = std::str::from_utf8(message.get(at + 1..at + 1 + length)?).ok()?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(label);
                if text.len() > NAME_BYTES_MAX {
                    return None;
                }
                at += 1 + length;
            }
            length if length >= 0xc0 => {
                let target = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                end = end.or(Some(at + 2));
                // Each step leads in front of the one before, so that there is a last one.
                if target >= limit {
                    return None;
                }
                (at, limit) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
