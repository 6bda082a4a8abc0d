//! What is printed once a stack is ready.

use std::path::Path;

use crate::terminal;
use crate::up::stack_file::Stack;

/// Prints the stack's addresses and a way to try it.
pub(crate) fn ready(stack: &Stack) {
    terminal::say(&text(stack));
}

fn text(stack: &Stack) -> String {
    let Stack { https, http, ca, edge_admin, identity_provider, .. } = stack;
    let backends: Vec<_> = stack.backends.iter().map(|backend| backend.api.as_str()).collect();
    let ca = shell_word(Path::new(ca));
    format!(
        r#"
ready:
  site               {https}  ({http} redirects there)
  edge, admin        {edge_admin}
  backends           {backends}
  identity provider  {identity_provider}
  CA certificate     {ca}

sign in and book, from another shell:
  field() {{ grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }}
  call() {{ curl -sS --cacert {ca} -H 'content-type: application/json' "$@"; }}
  id_token=$(call {identity_provider}/google/mint -d '{{"sub":"ada","name":"Ada","nonce":"n"}}' | field id_token)
  token=$(call {https}/api/auth/login -d '{{"provider":"google","id_token":"'$id_token'","nonce":"n"}}' | field access_token)
  call {https}/api/me -H "authorization: Bearer $token"
  vendor=$(call {https}/api/vendors?limit=1 | field id)
  service=$(call {https}/api/vendors/$vendor | grep -o '"services":.*' | field id)
  starts_at=$(call "{https}/api/vendors/$vendor/availability?service_id=$service&from=$(date -d tomorrow +%F)&days=7" | field starts_at)
  call {https}/api/reservations -H "authorization: Bearer $token" -d '{{"service_id":"'$service'","starts_at":"'$starts_at'"}}'
"#,
        backends = backends.join(", "),
    )
}

/// A path as one word of a shell's command line.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_anything_in_it_is_one_word() {
        assert_eq!(shell_word(Path::new("/var/certs/ca.pem")), "/var/certs/ca.pem");
        assert_eq!(shell_word(Path::new("/my var/it's")), r"'/my var/it'\''s'");
    }
}
