//! Files of a container as a client asks for them, and uploads that go wrong in the middle.

use hyper::header::{AUTHORIZATION, HOST};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::whole;
use super::{Answer, Client};

pub const BYTES: &str = "application/octet-stream";
pub const TAR: &str = "application/x-tar";

/// The path of an operation on a file of the container `c`.
pub fn at(operation: &str, path: &str) -> String {
    let path: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    format!("/containers/c/files{operation}?path={path}")
}

/// Nothing that repeats, so that whatever is lost or moved is seen.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

impl Client {
    /// A file's content, asked for with these headers.
    pub async fn read_file(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request("GET", &at("/content", path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(whole("")).unwrap()).await
    }

    /// Writes a file with these headers.
    pub async fn write_file(&self, path: &str, headers: &[(&str, &str)], bytes: impl Into<bytes::Bytes>) -> Answer {
        let request = self.request("PUT", &at("/content", path)).header("content-type", BYTES);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(whole(bytes)).unwrap()).await
    }

    /// What stands at a path, but for its etag.
    pub async fn file_info(&self, path: &str) -> Value {
        let mut file = self.get(&at("/info", path)).await.ok()["file"].clone();
        file.as_object_mut().unwrap().remove("etag");
        file
    }

    /// The names in a directory.
    pub async fn names(&self, path: &str) -> Vec<String> {
        let list = self.get(&at("", path)).await.ok();
        list["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Unpacks an archive.
    pub async fn unpack(&self, path: &str, tar: impl Into<bytes::Bytes>) -> Answer {
        self.put(&at("/archive", path), TAR, tar).await
    }

    /// The head of an upload, written by hand; the rest is the caller's. `framing` is a header.
    pub async fn begin_upload(&self, path: &str, media: &str, framing: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "PUT /api/v1{path} HTTP/1.1\r\n{HOST}: {}\r\n{AUTHORIZATION}: Bearer {}\r\ncontent-type: {media}\r\n{framing}\r\n\r\n",
            self.address,
            self.token.as_deref().unwrap(),
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// A download whose head was read and nothing more.
    pub async fn begin_download(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let token = self.token.as_deref().unwrap();
        let head = format!("GET /api/v1{path} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.split(' ').nth(1) == Some("200"), "{head}");
        stream
    }
}

/// What comes back on a connection: one answer.
pub async fn answer(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&all);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                break;
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, reading).await.expect("an answer");
    String::from_utf8_lossy(&all).into_owned()
}

/// One entry of an archive for [`tar`]: type, name, what a link leads to, content.
pub type TarEntry<'a> = (u8, &'a str, &'a str, &'a [u8]);

/// An archive of these, whatever they are called.
pub fn tar(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (kind, name, target, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(if *kind == b'5' { 0o755 } else { 0o640 });
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_600_000_000);
        let bytes = header.as_mut_bytes();
        bytes[156] = *kind;
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}
