//! The trace that a request belongs to, where its sender says so (W3C Trace Context).

use poem::Request;

/// The trace id of `traceparent`: 32 hex digits. None if the header is absent, repeated, or not of its form; a wrong
/// one is no mistake of the request.
pub fn trace_id(request: &Request) -> Option<String> {
    let mut values = request.headers().get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { parse(value).map(str::to_owned) }
}

fn parse(value: &str) -> Option<&str> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_some = |text: &str| text.bytes().any(|b| b != b'0');
    let fits = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    // Version 0 ends here; a later one may go on. `ff` is none.
    let ends = version != "ff" && (version != "00" || parts.next().is_none());
    (fits && ends && is_some(trace) && is_some(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_what_the_standard_takes_is_taken() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(parse(&good), Some(trace));
        assert_eq!(parse(&format!("cc-{trace}-b7ad6b7169203331-01-what-will-be")), Some(trace));
        for bad in [
            String::new(),
            format!("{good}-more"),
            format!("ff-{trace}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-b7ad6b7169203331"),
            format!("00-{trace}\n-b7ad6b7169203331-01"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
