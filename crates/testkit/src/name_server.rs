//! A DNS server on loopback that answers as a test tells it, and may change its mind.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// No question of a resolver is longer, without EDNS or with.
const QUESTION_BYTES_MAX: usize = 1232;

const HEAD_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

#[derive(Debug, Default)]
struct Zone {
    /// What is still to be answered for a name, in turn; the last one stays.
    answers: HashMap<String, VecDeque<Vec<IpAddr>>>,
    asked: Vec<String>,
}

impl Zone {
    fn next(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        let answers = self.answers.get_mut(name)?;
        if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        }
    }
}

/// A running name server; nothing it says may be kept (TTL 0). Gone when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _serving: JoinSet<()>,
}

impl NameServer {
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("the name server should listen");
        let address = socket.local_addr().expect("a socket has an address");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(socket, Arc::clone(&zone)));
        Self {
            address,
            zone,
            _serving: serving,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `name` leads to: the first list for the first question of IPv4 addresses, the next one
    /// for the next, the last one for ever. Names that nothing is said of do not exist.
    ///
    /// # Panics
    ///
    /// When one of the texts is no address.
    pub fn answers(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers
            .iter()
            .map(|answer| {
                answer
                    .iter()
                    .map(|text| text.parse().expect("an address"))
                    .collect()
            })
            .collect();
        lock(&self.zone).answers.insert(name.to_owned(), answers);
    }

    /// The names whose IPv4 addresses were asked for, one for each question.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.zone).asked.clone()
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; QUESTION_BYTES_MAX];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            return;
        };
        let question = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = answer(question, &zone) {
            drop(socket.send_to(&answer, client).await);
        }
    }
}

/// The whole message that answers one question of one record type.
fn answer(message: &[u8], zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let (name, rest) = read_name(message.get(HEAD_BYTES..)?)?;
    let kind = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
    let question_end = message.len() - rest.len() + 4;
    let found = {
        let mut zone = lock(zone);
        match kind {
            TYPE_A => {
                zone.asked.push(name.clone());
                zone.next(&name)
            }
            // The answer of the same turn: questions of both kinds go out together.
            _ => zone.answers.get(&name).and_then(VecDeque::front).cloned(),
        }
    };
    let records: Vec<Vec<u8>> = found
        .iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), TYPE_A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), TYPE_AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let no_such_name = u8::from(found.is_none()) * 3;
    let mut answer = message.get(..2)?.to_vec();
    // An answer, with authority; one question, then the records.
    answer.extend([0x85, 0x80 | no_such_name, 0, 1, 0]);
    answer.push(u8::try_from(records.len()).ok()?);
    answer.extend([0, 0, 0, 0]);
    answer.extend(message.get(HEAD_BYTES..question_end)?);
    for record in records {
        // The question's name, its type, class IN, TTL 0.
        answer.extend([0xc0, 0x0c]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}

/// A name in lower case, without the final dot, and what follows it.
fn read_name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        if *length == 0 {
            return Some((labels.join("."), rest));
        }
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        bytes = rest;
    }
}

fn lock(zone: &Mutex<Zone>) -> std::sync::MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}
