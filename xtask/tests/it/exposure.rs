//! What of a stack other machines can reach.

use crate::client::{address, browser};
use crate::stack::Stack;

#[tokio::test]
async fn only_the_edge_is_open_to_other_machines() {
    let stack = Stack::start();
    // The other processes listen on 127.0.0.1; another loopback address stands for another machine.
    let other = browser(&stack.file, address(1));
    let others = stack.file.backends.iter().flat_map(|backend| [&backend.api, &backend.management]);
    for url in others.chain([&stack.file.edge_admin, &stack.file.identity_provider]) {
        let elsewhere = url.replace("127.0.0.1", "127.0.7.9");
        assert!(other.get(&elsewhere).send().await.is_err(), "{elsewhere}");
    }
    assert!(stack.file.redis.starts_with("redis://") && !stack.file.database.is_empty());
}
