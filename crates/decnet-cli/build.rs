//! The unit files are embedded by listing; a new one must lead to a new build.
fn main() {
    println!("cargo:rerun-if-changed=../../systemd");
}
