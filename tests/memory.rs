//! Bodies stream: whatever their size, the memory they take stays small.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::support::client::{Body, request};
use crate::support::{Burdock, Client, Origin, Reply, within_time};

const SIZE: u64 = 300 << 20;
const ALLOWED: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// So many zeros, made as they are sent.
struct Zeros(u64);

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let length = self.0.min(PIECE.len() as u64);
        self.0 -= length;
        let piece = &PIECE[..usize::try_from(length).expect("at most a piece")];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// Resident memory that `work` adds at its worst, looked at all the while.
async fn growth(burdock: &Burdock, work: impl Future<Output = ()>) -> u64 {
    let before = burdock.resident();
    let mut most = before;
    let watch = async {
        loop {
            most = most.max(burdock.resident());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let watched = async {
        tokio::select! {
            () = work => {}
            () = watch => {}
        }
    };
    within_time(PATIENCE, "the transfer", watched).await;
    most.max(burdock.resident()).saturating_sub(before)
}

async fn download(client: &mut Client) {
    let call = request("GET", "https://shop.example/big")
        .body("".into())
        .expect("a valid request");
    let mut body = client.stream(call).await.expect("a response").into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame
            .expect("a whole body")
            .data_ref()
            .map_or(0, |data| data.len() as u64);
    }
    assert_eq!(length, SIZE);
}

async fn upload(client: &mut Client) {
    let call = request("POST", "https://shop.example/up")
        .body(Body::stream(Zeros(SIZE)))
        .expect("a valid request");
    let response = client.stream(call).await.expect("a response");
    assert_eq!(response.status(), 200);
}

async fn clients(burdock: &Burdock) -> [Client; 2] {
    let mut clients = [burdock.visitor("a"), burdock.visitor("a").http2()];
    for client in &mut clients {
        // The first exchange makes what stays: the leaf, the roots, the session, the buffers.
        client.get("https://shop.example/").await;
    }
    clients
}

#[tokio::test]
async fn a_download_of_300_mib_through_interception_takes_less_than_16_mib() {
    for origin in [Origin::tls, Origin::h2] {
        let shop = origin("shop.example")
            .on("/big", Reply::zeros(SIZE))
            .start()
            .await;
        let burdock = Burdock::before(&[&shop]).await;
        for mut client in clients(&burdock).await {
            let grown = growth(&burdock, download(&mut client)).await;
            assert!(grown < ALLOWED, "{} KiB more", grown >> 10);
        }
    }
}

#[tokio::test]
async fn an_upload_of_300_mib_through_interception_takes_less_than_16_mib() {
    for origin in [Origin::tls, Origin::h2] {
        let shop = origin("shop.example").start().await;
        let burdock = Burdock::before(&[&shop]).await;
        for mut client in clients(&burdock).await {
            let grown = growth(&burdock, upload(&mut client)).await;
            assert!(grown < ALLOWED, "{} KiB more", grown >> 10);
            assert_eq!(shop.last().body_length, SIZE);
        }
    }
}
