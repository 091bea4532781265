//! The binary `waypost`: the one place that opens sockets and files of its own and chooses TLS.

mod listen;
mod logs;
mod machine;
mod tls;

fn main() {
    logs::start(logs::Form::Human);
}
