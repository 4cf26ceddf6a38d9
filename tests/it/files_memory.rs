//! However large a transfer is, the gateway holds little of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::files::{BYTES, TAR, answer, at, content};
use crate::support::processes::resident;
use crate::support::{Site, Story};

const MEBIBYTE: usize = 1 << 20;

/// Mebibytes each way; as many as somebody wants to see once.
fn size() -> usize {
    std::env::var("PODGATE_TEST_TRANSFER_MIB").map_or(200, |text| text.parse().unwrap())
}

/// The most that a process had at the moments when it was looked at.
struct Growth {
    pid: u32,
    before: u64,
    most: u64,
}

impl Growth {
    fn of(pid: u32) -> Self {
        Self { pid, before: resident(pid), most: 0 }
    }

    fn look(&mut self) {
        self.most = self.most.max(resident(self.pid));
    }

    fn is_small(&self, what: &str) {
        let grown = self.most.saturating_sub(self.before);
        println!("{what}: {} KiB at first, {} KiB more at most", self.before >> 10, grown >> 10);
        assert!(grown <= 16 << 20, "{what}: {grown} bytes more than {}", self.before);
    }
}

async fn begin(start: bool) -> Story {
    let story = Story::at(Site::new().set("quotas.stored_bytes", 100_u64 << 30)).await;
    let body = serde_json::json!({"image": "alpine", "name": "c", "command": "sleep 300", "start": start});
    story.client.create(body).await;
    // Once, so that what is there for good is there.
    story.client.write_file("/tmp/x", &[], content(MEBIBYTE)).await.ok();
    story.client.read_file("/tmp/x", &[]).await;
    story
}

/// Sends these once and then as many mebibytes as there are to send, in chunks.
async fn send(upload: &mut TcpStream, before: &[u8], piece: &[u8], after: &[u8], growth: &mut Growth) {
    let framed = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    if !before.is_empty() {
        upload.write_all(&framed(before)).await.unwrap();
    }
    let framed_piece = framed(piece);
    for _ in 0..size() {
        upload.write_all(&framed_piece).await.unwrap();
        growth.look();
    }
    if !after.is_empty() {
        upload.write_all(&framed(after)).await.unwrap();
    }
    upload.write_all(b"0\r\n\r\n").await.unwrap();
}

/// Takes all of it, and holds against `piece` what comes after so many bytes.
async fn take(mut download: TcpStream, before: usize, piece: &[u8], growth: &mut Growth) -> usize {
    let (mut at, mut buffer) = (0, vec![0; MEBIBYTE]);
    let end = before + size() * MEBIBYTE;
    loop {
        let count = download.read(&mut buffer).await.unwrap();
        if count == 0 {
            return at;
        }
        let is_right = |offset: usize| {
            let at = at + offset;
            at < before || at >= end || buffer[offset] == piece[(at - before) % MEBIBYTE]
        };
        assert!((0..count).step_by(4099).all(is_right), "beyond {at}");
        at += count;
        growth.look();
    }
}

#[tokio::test]
async fn a_file_of_any_size_passes() {
    let story = begin(true).await;
    let (client, piece) = (&story.client, content(MEBIBYTE));
    let mut growth = Growth::of(story.gateway.pid());
    let mut upload = client.begin_upload(&at("/content", "/tmp/x"), BYTES, "transfer-encoding: chunked").await;
    send(&mut upload, b"", &piece, b"", &mut growth).await;
    let told = answer(upload).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    growth.is_small("in");
    let download = client.begin_download(&at("/content", "/tmp/x")).await;
    assert_eq!(take(download, 0, &piece, &mut growth).await, size() * MEBIBYTE);
    growth.is_small("out");
}

#[tokio::test]
async fn an_archive_of_any_size_passes() {
    for start in [true, false] {
        let story = begin(start).await;
        let (client, piece) = (&story.client, content(MEBIBYTE));
        let mut growth = Growth::of(story.gateway.pid());
        let mut header = tar::Header::new_ustar();
        header.set_path("large").unwrap();
        header.set_mode(0o644);
        header.set_size((size() * MEBIBYTE) as u64);
        header.set_cksum();
        let mut upload = client.begin_upload(&at("/archive", "/tmp"), TAR, "transfer-encoding: chunked").await;
        send(&mut upload, header.as_bytes(), &piece, &[0; 1024], &mut growth).await;
        let told = answer(upload).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        growth.is_small("archive in");
        let download = client.begin_download(&at("/archive", "/tmp/large")).await;
        let all = take(download, 512, &piece, &mut growth).await;
        assert_eq!(all, size() * MEBIBYTE + 512 + 1024, "with a header and an end");
        growth.is_small("archive out");
    }
}
