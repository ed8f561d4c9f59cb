//! Endpoints and the sockets behind them: TCP addresses and unix sockets.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// What an endpoint names (config/confignet of the collector).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// `host:port`.
    #[default]
    Tcp,
    /// `host:port` over IPv4.
    Tcp4,
    /// `host:port` over IPv6.
    Tcp6,
    /// The path of a socket. An endpoint that starts with `unix:` is one too.
    Unix,
}

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// An address, with the real port where the config said 0.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An open socket that takes connections.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket; goes with the listener.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    pub(super) fn address(&self) -> std::io::Result<BoundAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(BoundAddress::Tcp),
            Self::Unix(_, file) => Ok(BoundAddress::Unix(file.0.clone())),
        }
    }
}

/// What the text of an endpoint names.
enum Place<'a> {
    /// Host, without brackets, and port.
    Tcp(&'a str, u16),
    Unix(&'a Path),
}

impl<'a> Place<'a> {
    fn parse(endpoint: &'a str, transport: Transport) -> Result<Self, String> {
        let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:"));
        if let Some(path) = path.or_else(|| (transport == Transport::Unix).then_some(endpoint)) {
            return Ok(Self::Unix(Path::new(path)));
        }
        let (host, port) =
            endpoint.rsplit_once(':').ok_or_else(|| format!("want host:port, got {endpoint:?}"))?;
        let number = port.parse().map_err(|_| format!("port {port:?} is not a number up to 65535"))?;
        Ok(Self::Tcp(host.trim_start_matches('[').trim_end_matches(']'), number))
    }
}

/// Refuses an endpoint that no start can open, whatever the machine.
pub fn check(endpoint: &str, transport: Transport) -> Result<(), String> {
    Place::parse(endpoint, transport).map(drop)
}

/// Opens an endpoint. No host is every interface, as in Go; `localhost` is both loopback addresses, because some clients
/// try IPv6 first.
pub(super) async fn bind(endpoint: &str, transport: Transport) -> anyhow::Result<Vec<Socket>> {
    match Place::parse(endpoint, transport).map_err(anyhow::Error::msg)? {
        Place::Unix(path) => bind_unix(path).await,
        Place::Tcp(host, port) => bind_tcp(host, port, transport).await,
    }
}

async fn bind_tcp(host: &str, port: u16, transport: Transport) -> anyhow::Result<Vec<Socket>> {
    let listeners = match (host, transport) {
        ("", Transport::Tcp4) => vec![TcpListener::bind(("0.0.0.0", port)).await?],
        ("", Transport::Tcp6) => vec![TcpListener::bind(("::", port)).await?],
        ("", _) => match TcpListener::bind(("::", port)).await {
            Ok(listener) => vec![listener],
            Err(_) => vec![TcpListener::bind(("0.0.0.0", port)).await?],
        },
        ("localhost", Transport::Tcp4) => vec![TcpListener::bind(("127.0.0.1", port)).await?],
        ("localhost", Transport::Tcp6) => vec![TcpListener::bind(("::1", port)).await?],
        ("localhost", _) => {
            let first = TcpListener::bind(("127.0.0.1", port)).await?;
            let port = first.local_addr()?.port();
            let second = TcpListener::bind(("::1", port)).await.ok();
            std::iter::once(first).chain(second).collect()
        }
        (host, transport) => {
            let wanted = |address: &SocketAddr| match transport {
                Transport::Tcp4 => address.is_ipv4(),
                Transport::Tcp6 => address.is_ipv6(),
                _ => true,
            };
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host, port)).await?.filter(wanted).collect();
            vec![TcpListener::bind(found.as_slice()).await?]
        }
    };
    Ok(listeners.into_iter().map(Socket::Tcp).collect())
}

/// A socket that a process left behind is replaced; one that somebody listens on, or another kind of file, is not.
async fn bind_unix(path: &Path) -> anyhow::Result<Vec<Socket>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => bail!("{} is there and not a socket", path.display()),
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            bail!("address already in use: another process listens on {}", path.display())
        }
        Ok(_) => std::fs::remove_file(path)
            .with_context(|| format!("removing the socket {} that nobody listens on", path.display()))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    Ok(vec![Socket::Unix(listener, SocketFile(path.to_owned()))])
}
