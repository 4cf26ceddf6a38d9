//! What a request makes its change of a file depend on: `If-Match` and `If-None-Match`.

use poem::Request;

use crate::domain::{ContainerPath, Details, Error, FileInfo, Kind, Result, Tags, TreePath};
use crate::engine::{ChangingFiles, Expected};

/// Both headers, as far as they are there.
pub(super) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Conditions {
    /// All lines of both: the parameters have only what is text, and the first of it, and a condition that is not
    /// understood must not be none.
    pub fn of(request: &Request, wrong: &mut Details) -> Self {
        let mut tags = |name: &str| {
            let lines: Vec<_> = request.headers().get_all(name).iter().map(|line| line.to_str()).collect();
            if lines.is_empty() {
                return None;
            }
            let text = lines.into_iter().collect::<std::result::Result<Vec<_>, _>>().map(|lines| lines.join(", "));
            wrong.take(name, text.map_err(|_| "is no text".to_owned()).and_then(|text| Tags::parse(&text)))
        };
        Self { if_match: tags("If-Match"), if_none_match: tags("If-None-Match") }
    }

    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// That the file is one that the request wants; none stands for no file.
    pub fn check_match(&self, tag: Option<&str>) -> Result<()> {
        let matches = |tags: &Tags| tag.is_some_and(|tag| tags.contain_strongly(tag));
        if self.if_match.as_ref().is_none_or(matches) {
            return Ok(());
        }
        Err(Error::new(Kind::Precondition, "the file is not the one that the request names"))
    }

    /// Whether the file is one that the request does not want.
    pub fn rules_out(&self, tag: &str) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.contain(tag))
    }

    /// What must still stand there when the file is replaced, if it is as the request wants it now.
    pub async fn expected(&self, files: &mut ChangingFiles, path: &ContainerPath) -> Result<Expected> {
        if self.are_none() {
            return Ok(Expected::Anything);
        }
        let path = TreePath::from(path);
        let found: Option<FileInfo> = match files.look(&path, true).await {
            Ok(info) => Some(info),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let tag = found.as_ref().map(|info| info.version.tag());
        self.check_match(tag.as_deref())?;
        if tag.is_some_and(|tag| self.rules_out(&tag)) {
            let message = match self.if_none_match {
                Some(Tags::Any) => "there is a file already",
                _ => "the file is one that the request rules out",
            };
            return Err(Error::new(Kind::Precondition, message));
        }
        Ok(found.map_or(Expected::Nothing, |info| Expected::Version(info.version)))
    }
}
