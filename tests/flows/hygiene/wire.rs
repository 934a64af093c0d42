//! Requests that no HTTP client would send: bytes on a socket.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

/// How long a server may stay silent before what it sent so far counts as all.
const SILENCE: Duration = Duration::from_millis(400);

/// One service on the wire.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// What `Host` has to say.
    pub(super) host: String,
    /// A path that takes a POST with a body.
    pub(super) path: &'static str,
}

/// Both services.
pub(super) fn places(world: &World) -> [Place; 2] {
    let of = |origin: &str, path| {
        let host = origin.trim_start_matches("http://").to_owned();
        let port = host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        Place { address: SocketAddr::from(([127, 0, 0, 1], port)), host, path }
    };
    [of(&world.issuer, "/oauth2/token"), of(&world.resource, "/v1/fiat-ins")]
}

/// Everything that came back on one connection.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) text: String,
    /// The server closed the connection.
    pub(super) closed: bool,
}

impl Heard {
    /// How many answers there are.
    pub(super) fn answers(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }

    /// The status of the first answer; 0 where there is none.
    pub(super) fn status(&self) -> u16 {
        self.text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or_default()
    }

    /// The body of the first answer as JSON.
    pub(super) fn json(&self) -> Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

impl Place {
    /// Sends bytes on a fresh connection, as far as the server takes them, and listens until it closes or is silent.
    pub(super) async fn say(&self, bytes: &[u8]) -> Heard {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let (mut from, mut to) = stream.into_split();
        let listening = async {
            let (mut heard, mut buffer) = (Vec::new(), [0; 16 * 1024]);
            loop {
                // The first answer may take a while on a busy machine.
                let patience = if heard.is_empty() { Duration::from_secs(5) } else { SILENCE };
                match tokio::time::timeout(patience, from.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => return (heard, true),
                    Ok(Ok(count)) => heard.extend_from_slice(&buffer[..count]),
                    Err(_) => return (heard, false),
                }
            }
        };
        // It may answer and close before everything is sent.
        let ((heard, closed), _sent) = tokio::join!(listening, to.write_all(bytes));
        Heard { text: String::from_utf8_lossy(&heard).into_owned(), closed }
    }

    /// A request line and `Host`, further header lines, and a body as it is.
    pub(super) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Heard {
        let mut text = format!("{line} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.say(text.as_bytes()).await
    }
}
