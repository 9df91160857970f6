//! Bindings to DPDK, made by bindgen at build time.
//!
//! **Empty for now.** Without the `dpdk` feature this crate has no items and needs nothing installed. With it the
//! build stops with an error, because the bindings land with the packet-IO work; they will need the Debian package
//! `libdpdk-dev`.

#![no_std]
