//! A restart that refuses nobody: a new process is handed the listening sockets of the one that serves, and when it is ready the
//! old one stops as if it had been told to.
//!
//! The sockets themselves change hands (`SCM_RIGHTS`, unix(7)), so both processes take connections from one queue, and there is no
//! moment in which nobody does. Whoever serves waits at `handover.sock` in its data folder; only its own user may come. A new
//! process that fails to start costs nothing: the old one goes on.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::UnixListener,
};

use crate::{cli::Failure, serving::Sockets};

/// How long the process that serves may take to hand over; another one may be taking over just now.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two that try.
const PAUSE: Duration = Duration::from_secs(1);
/// HTTP, HTTPS and the operators'.
const MOST_SOCKETS: usize = 3;
/// What is said when the new process is ready.
const READY: u8 = b'R';

/// Sockets that another process has bound.
#[derive(Default)]
pub(crate) struct Taken {
    sockets: Vec<TcpListener>,
    /// Where the process waits to hear that we are ready.
    from: Option<UnixStream>,
}

/// The sockets of this process, for the next one.
pub(crate) struct Offer {
    sockets: Vec<OwnedFd>,
    at: UnixListener,
    /// Where that is until the place in the data folder is its own.
    beside: PathBuf,
}

fn place(data: &Path) -> PathBuf {
    data.join("handover.sock")
}

/// Another one each time: of two that start at once neither takes the other's socket for its own.
fn beside(data: &Path) -> PathBuf {
    data.join(format!("handover.{:08x}.next", fastrand::u32(..)))
}

/// Of whoever else was to wait in the place nothing is left: they have ended, or find that somebody stands there.
fn clear(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("handover.") && name.ends_with("next")) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

// === impl Taken ===

impl Taken {
    /// Asks whoever serves this data folder; nobody, and there is nothing to take.
    pub(crate) async fn ask(data: &Path) -> Result<Self, Failure> {
        let place = place(data);
        // Another thread waits for the answer: whoever asks hears meanwhile that they are to stop.
        let asked = tokio::task::spawn_blocking(move || Self::ask_at(&place)).await;
        asked.context("nobody has waited for the sockets")?
    }

    fn ask_at(place: &Path) -> Result<Self, Failure> {
        let Ok(from) = UnixStream::connect(place) else {
            tracing::info!("nobody serves this data folder; the sockets are our own");
            return Ok(Self::default());
        };
        let sockets = receive(&from)
            .map_err(|error| Failure::Unavailable(format!("the sockets cannot be taken over: {error}")))?;
        Ok(Self { sockets, from: Some(from) })
    }

    /// The one that is bound to `address`, if it is among them.
    pub(crate) fn bound_to(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|socket| {
            let bound = socket.local_addr();
            bound.is_ok_and(|bound| bound == address || (address.port() == 0 && bound.ip() == address.ip()))
        })?;
        Some(self.sockets.remove(at))
    }

    /// Tells the other process that it may stop.
    pub(crate) fn are_ours(self) {
        if let Some(mut from) = self.from
            && let Err(error) = from.write_all(&[READY])
        {
            tracing::warn!(%error, "the process before does not hear that it may stop");
        }
    }
}

fn receive(from: &UnixStream) -> io::Result<Vec<TcpListener>> {
    from.set_read_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    Ok(rights.flatten().map(TcpListener::from).collect())
}

// === impl Offer ===

impl Offer {
    /// For the place in the data folder, where whoever was `taken` over waits for as long as this process may still fail. `None` if somebody
    /// else waits there, or the folder has no room for a socket.
    pub(crate) fn make(sockets: &Sockets, data: &Path, taken: &Taken) -> Option<Self> {
        if taken.from.is_none() && UnixStream::connect(place(data)).is_ok() {
            tracing::warn!(
                "another process serves this data folder, and is the one that can be taken over; without a Redis each of the two counts limits by itself"
            );
            return None;
        }
        if_it_is_to_be_had(Self::at(sockets, beside(data)))
    }

    /// The place is its own from now on.
    pub(crate) fn stand(self, data: &Path) -> Option<Self> {
        let stood = fs::rename(&self.beside, place(data));
        clear(data);
        if_it_is_to_be_had(stood.map(|()| self))
    }

    fn at(sockets: &Sockets, beside: PathBuf) -> io::Result<Self> {
        let at = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        let https = sockets.https.as_ref().map(|(socket, ..)| socket);
        let all = [Some(&sockets.http.0), https, Some(&sockets.operators.0)];
        let sockets = all.into_iter().flatten().map(|socket| socket.try_clone().map(OwnedFd::from));
        Ok(Self { sockets: sockets.collect::<io::Result<_>>()?, at, beside })
    }

    /// Waits until another process has taken over.
    pub(crate) async fn taken(self) {
        loop {
            match self.next().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the process that was to take over did not; this one goes on");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn next(&self) -> io::Result<()> {
        let (mut to, _) = self.at.accept().await?;
        tracing::info!("another process takes the sockets over");
        to.async_io(Interest::WRITABLE, || self.send(&to)).await?;
        // For as long as it lives: its migrations take as long as they take, and two that serve for ever would count everything twice.
        match to.read_u8().await? {
            READY => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send(&self, to: impl AsFd) -> io::Result<()> {
        let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        rustix::net::sendmsg(to, &[IoSlice::new(b"S")], &mut control, SendFlags::empty())?;
        Ok(())
    }
}

fn if_it_is_to_be_had(offer: io::Result<Offer>) -> Option<Offer> {
    offer.inspect_err(|error| tracing::warn!(%error, "no other process can take the sockets over")).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn made(data: &Path, taken: &Taken) -> Option<Offer> {
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = |socket: TcpListener| (socket, SocketAddr::from(([127, 0, 0, 1], 0)));
        Offer::make(&Sockets { http: bound(socket()), https: None, operators: bound(socket()) }, data, taken)
    }

    fn offer(data: &Path, taken: &Taken) -> Option<Offer> {
        made(data, taken)?.stand(data)
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_takes_its_time_is_waited_for() {
        let data = tempfile::tempdir().unwrap();
        let offer = offer(data.path(), &Taken::default()).unwrap();
        let taken = tokio::spawn(offer.taken());
        let next = Taken::ask(data.path()).await.ok().unwrap();
        assert_eq!(next.sockets.len(), 2);
        // Migrations of a large table, or a lock that another node holds.
        tokio::time::sleep(Duration::from_hours(3)).await;
        assert!(!taken.is_finished());
        next.are_ours();
        taken.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_ends_before_it_is_ready_leaves_the_first_one_to_be_taken_over() {
        let data = tempfile::tempdir().unwrap();
        let first = tokio::spawn(offer(data.path(), &Taken::default()).unwrap().taken());
        let ask = async || Taken::ask(data.path()).await.ok().unwrap();
        let failing = ask().await;
        drop(made(data.path(), &failing).unwrap());
        drop(failing);
        let next = ask().await;
        assert!(next.from.is_some(), "nobody waits there");
        let offer = made(data.path(), &next).unwrap();
        next.are_ours();
        first.await.unwrap();
        let _second = tokio::spawn(offer.stand(data.path()).unwrap().taken());
        assert!(ask().await.from.is_some(), "nor does the second one, when it is ready");
    }

    #[tokio::test]
    async fn a_second_process_on_the_folder_leaves_the_first_one_to_be_taken_over() {
        let data = tempfile::tempdir().unwrap();
        let first = offer(data.path(), &Taken::default()).unwrap();
        assert!(offer(data.path(), &Taken::default()).is_none());
        drop(first);
        assert!(offer(data.path(), &Taken::default()).is_some(), "nobody waits there any more");
    }

    #[tokio::test]
    async fn of_two_that_start_at_once_on_one_folder_one_can_be_taken_over() {
        let data = tempfile::tempdir().unwrap();
        let both = [(); 2].map(|()| made(data.path(), &Taken::default()).unwrap());
        for standing in both.into_iter().filter_map(|offer| offer.stand(data.path())) {
            tokio::spawn(standing.taken());
        }
        assert!(Taken::ask(data.path()).await.ok().unwrap().from.is_some(), "nobody waits there");
        let left = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["handover.sock"]);
    }
}
