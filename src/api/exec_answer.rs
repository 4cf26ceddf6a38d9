//! The answer to a command, in JSON that is written while it is sent: what a command said may be large, and is in memory
//! once.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::ToJSON;

use super::exec::ExecResponse;
use crate::domain::Beginning;
use crate::engine::{Output, Reading, Said};

/// Answers that are not longer are made at once.
const SHORT: usize = 64 * 1024;

/// An answer, whose texts are empty, and what the command said.
pub(super) struct ExecAnswer {
    /// The answer cut up where a text belongs, and the text of which output.
    parts: Vec<(String, Option<Text>)>,
    said: Said,
}

/// Of one output, or of both.
#[derive(Debug, Clone, Copy)]
struct Text(Option<Output>);

/// How far it was written.
#[derive(Default)]
struct Writing {
    part: usize,
    is_begun: bool,
    reading: Reading,
    kept: Beginning,
}

impl ExecAnswer {
    pub(super) fn new(empty: &ExecResponse, said: Said) -> Self {
        let json = empty.to_json_string();
        let texts = [("output", None), ("stdout", Some(Output::Stdout)), ("stderr", Some(Output::Stderr))];
        let mut cuts: Vec<(usize, Text)> = texts
            .into_iter()
            .filter_map(|(field, output)| {
                let key = format!("\"{field}\":\"");
                json.find(&key).map(|at| (at + key.len(), Text(output)))
            })
            .collect();
        cuts.sort_unstable_by_key(|(at, _)| *at);
        let mut parts = Vec::new();
        let mut from = 0;
        for (at, text) in cuts {
            parts.push((json[from..at].to_owned(), Some(text)));
            from = at;
        }
        parts.push((json[from..].to_owned(), None));
        Self { parts, said }
    }

    /// The next bytes; none at the end.
    fn next(&self, writing: &mut Writing) -> Option<Bytes> {
        loop {
            let (json, text) = self.parts.get(writing.part)?;
            if !std::mem::replace(&mut writing.is_begun, true) {
                return Some(Bytes::copy_from_slice(json.as_bytes()));
            }
            let said = text.and_then(|Text(output)| self.said.next(&mut writing.reading, output));
            let bytes = match said {
                Some(said) => writing.kept.whole(said),
                None => {
                    let rest = writing.kept.rest();
                    *writing = Writing { part: writing.part + 1, ..Writing::default() };
                    rest
                }
            };
            if !bytes.is_empty() {
                return Some(escaped(&String::from_utf8_lossy(&bytes)));
            }
        }
    }
}

/// As it stands between quotes.
fn escaped(text: &str) -> Bytes {
    let quoted = serde_json::to_vec(text).unwrap_or_default();
    let end = quoted.len().saturating_sub(1);
    Bytes::from(quoted).slice(end.min(1)..end)
}

impl IntoResponse for ExecAnswer {
    fn into_response(self) -> Response {
        let (mut length, mut short, mut writing) = (0, Vec::new(), Writing::default());
        while let Some(bytes) = self.next(&mut writing) {
            length += bytes.len();
            if length <= SHORT {
                short.extend_from_slice(&bytes);
            }
        }
        let body = if length <= SHORT {
            Body::from_vec(short)
        } else {
            let written = stream::unfold((self, Writing::default()), async |(answer, mut writing)| {
                answer.next(&mut writing).map(|bytes| (Ok::<_, io::Error>(bytes), (answer, writing)))
            });
            Body::from_bytes_stream(written)
        };
        let response = Response::builder().header(header::CONTENT_TYPE, Json::<ExecResponse>::CONTENT_TYPE);
        response.header(header::CONTENT_LENGTH, length).body(body)
    }
}

impl ApiResponse for ExecAnswer {
    fn meta() -> MetaResponses {
        <Json<ExecResponse> as ApiResponse>::meta()
    }

    fn register(registry: &mut Registry) {
        <Json<ExecResponse> as ApiResponse>::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Ended, Execution};
    use proptest::prelude::*;

    async fn written(pieces: &[(Output, Vec<u8>)]) -> (usize, serde_json::Value) {
        let mut said = Said::default();
        pieces.iter().for_each(|(output, bytes)| said.push(*output, bytes));
        let execution = Execution { ended: Ended::Exited(0), said, supervised: true, killed: 0 };
        let response = ExecResponse::told(execution, 1).into_response();
        let length = response.header("content-length").unwrap().parse().unwrap();
        let body = response.into_body().into_bytes().await.unwrap();
        assert_eq!(body.len(), length);
        (length, serde_json::from_slice(&body).unwrap())
    }

    proptest! {
        #[test]
        fn it_is_the_text_that_it_would_be_at_once(
            pieces in proptest::collection::vec(
                (any::<bool>(), prop_oneof![any::<Vec<u8>>(), "\\PC{0,40}".prop_map(String::into_bytes)]), 0..12),
            cut in 1_usize..5,
        ) {
            // Cut anywhere, within characters too.
            let pieces: Vec<_> = pieces.into_iter().flat_map(|(is_error, bytes)| {
                let output = if is_error { Output::Stderr } else { Output::Stdout };
                bytes.chunks(cut).map(|chunk| (output, chunk.to_vec())).collect::<Vec<_>>()
            }).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (_, answer) = runtime.block_on(written(&pieces));
            for (field, of) in [("output", None), ("stdout", Some(Output::Stdout)), ("stderr", Some(Output::Stderr))] {
                let all = pieces.iter().filter(|(output, _)| of.is_none_or(|of| of == *output));
                let all: Vec<u8> = all.flat_map(|(_, bytes)| bytes.clone()).collect();
                prop_assert_eq!(&answer["execution"][field], &*String::from_utf8_lossy(&all));
            }
        }
    }

    #[tokio::test]
    async fn a_long_one_is_whole() {
        let piece = |output| (output, "ä\"\n".repeat(40_000).into_bytes());
        let (length, answer) = written(&[piece(Output::Stdout), piece(Output::Stderr)]).await;
        assert!(length > 2 * 2 * 40_000 * 6);
        let text = |field: &str| answer["execution"][field].as_str().unwrap().len();
        assert_eq!((text("output"), text("stdout"), text("stderr")), (320_000, 160_000, 160_000));
    }
}
