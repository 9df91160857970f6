//! The figures of the documentation, measured in virtual time.
pub mod overload;
pub mod pop;
pub mod ports;
pub mod members;
