//! Whether a process is ready to serve.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ureq::Agent;

/// A process that is ready answers at once; a machine that is busy may take this long.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A question that only a ready process answers well.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// Redis answers PING to whoever knows its password.
    Redis { address: SocketAddr, password: String },
    /// GET of this URL answers 200.
    Http(String),
    /// Something accepts connections.
    Tcp(SocketAddr),
}

impl Probe {
    /// Asks once.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Redis { address, password } => redis_answers(*address, password).unwrap_or(false),
            Self::Http(url) => agent().get(url).call().is_ok_and(|answer| answer.status() == 200),
            Self::Tcp(address) => TcpStream::connect_timeout(&reachable(*address), TIMEOUT).is_ok(),
        }
    }
}

fn agent() -> Agent {
    // A proxy of the environment must not be asked about this machine's own processes.
    Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build().into()
}

/// While Redis reads its file back it answers `-LOADING`.
fn redis_answers(address: SocketAddr, password: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "AUTH {password}\r\nPING\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut answers =
        |expected: &str| lines.next().is_some_and(|line| line.is_ok_and(|line| line == expected));
    Ok(answers("+OK") && answers("+PONG"))
}

/// Where a server that listens on all addresses is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection with `answer`, after the first line that comes in.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            stream.write_all(answer.as_bytes()).expect("it is read");
        });
        address
    }

    fn http(answer: &'static str) -> bool {
        Probe::Http(format!("http://{}/health", server(answer))).is_ready()
    }

    fn redis(answer: &'static str) -> bool {
        Probe::Redis { address: server(answer), password: "secret".into() }.is_ready()
    }

    #[test]
    fn only_200_is_ready() {
        assert!(http("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!http("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"));
    }

    #[test]
    fn redis_is_ready_once_it_takes_the_password_and_answers() {
        assert!(redis("+OK\r\n+PONG\r\n"));
        assert!(!redis("-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n"));
        assert!(!redis("+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"));
    }

    #[test]
    fn nobody_listening_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        assert!(Probe::Tcp(([0, 0, 0, 0], address.port()).into()).is_ready());
        drop(listener);
        assert!(!Probe::Tcp(address).is_ready());
        assert!(!Probe::Http(format!("http://{address}/")).is_ready());
    }
}
