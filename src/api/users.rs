//! Users inside a running container.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, Exec};
use super::json::Strict;
use super::model::answer;
use super::{Context, Tag};
use crate::domain::{Details, Password, Shell, Username};
use crate::lifecycle::NewUser;
use crate::policy::Change;

pub struct Users(pub Context);

/// The user to add.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct AddUserRequest {
    /// Lower-case letters, digits, `_` and `-`, at most 32.
    username: String,
    /// At most 128 characters without control characters. Without one, or with an empty one, the user cannot log in with
    /// a password.
    #[oai(write_only)]
    password: Option<String>,
    /// Absolute path of the login shell. Default `/bin/sh`.
    shell: Option<String>,
}

impl poem_openapi::types::Example for AddUserRequest {
    fn example() -> Self {
        Self { username: "student".into(), password: Some("correct horse".into()), shell: Some("/bin/sh".into()) }
    }
}

/// A user that was added.
#[derive(Object)]
struct UserCreated {
    /// Its name.
    username: String,
    /// Always true.
    created: bool,
}

answer! {
    /// The user was added.
    AddUserResponse { user: UserCreated }
    example UserCreated { username: "student".into(), created: true }
}

#[OpenApi(tag = "Tag::Inside")]
impl Users {
    /// Add a user
    ///
    /// Adds a user with a home directory: by the image's own tools, else by writing its account files.
    #[oai(path = "/containers/:name/users", method = "post", operation_id = "addContainerUser")]
    async fn add(
        &self,
        who: Caller<Exec>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<AddUserRequest>,
    ) -> poem::Result<Json<AddUserResponse>> {
        let Strict(body, _) = body;
        let mut wrong = Details::default();
        let username = wrong.take("username", Username::parse(&body.username));
        // An empty password means none, as it does in the seed.
        let password = body.password.filter(|password| !password.is_empty());
        let password = wrong.take_optional("password", password, |password| Password::parse(&password));
        let shell = wrong.take_optional("shell", body.shell, |shell| Shell::parse(&shell));
        let Some(username) = username else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let user = NewUser { username, password, shell: shell.unwrap_or_else(Shell::posix) };
        let asker = who.principal().noting(format!("user {}", user.username.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        self.0.lifecycle.add_user(&grant, &user).await?;
        Ok(AddUserResponse::of(UserCreated { username: user.username.as_str().into(), created: true }))
    }
}
