//! Typed views: a plain type in place of value bytes, at no cost.

use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::reader::{Lookup, Meta, Reader};
use super::write::PutError;
use super::{Map, MapError};
use crate::clock::Dot;
use crate::id::Key;
use crate::limits::READ_TRIES;

/// A value type: fixed size, any bytes valid, no padding. Little-endian fields (`zerocopy::little_endian`) make it
/// portable.
pub trait Value: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Value for T {}

/// A map seen as one of `T`; what is compiled for maps is compiled once, whatever the type.
#[derive(Debug)]
pub struct Typed<'m, 'a, T, const N: usize = 64> {
    map: &'m mut Map<'a, N>,
    value: PhantomData<T>,
}

/// A [`Reader`] that yields `T`.
#[derive(Debug)]
pub struct TypedReader<'a, T> {
    reader: Reader<'a>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for TypedReader<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedReader<'_, T> {}

fn check<T>(value_len: usize) -> Result<(), MapError> {
    if size_of::<T>() == value_len { Ok(()) } else { Err(MapError::ValueLength(size_of::<T>() as u16)) }
}

impl<'a, const N: usize> Map<'a, N> {
    /// Returns a view of this map with values of type `T`.
    ///
    /// # Errors
    /// [`MapError::ValueLength`] when `T` does not have the map's value length.
    pub fn typed<T: Value>(&mut self) -> Result<Typed<'_, 'a, T, N>, MapError> {
        check::<T>(usize::from(self.shape.value_len))?;
        Ok(Typed { map: self, value: PhantomData })
    }
}

impl<T: Value, const N: usize> Typed<'_, '_, T, N> {
    /// Writes `value` under `key`; see [`Map::put`].
    ///
    /// # Errors
    /// Why the write was refused; the map is as it was.
    pub fn put(&mut self, key: Key, value: &T) -> Result<Dot, PutError> {
        self.map.put(key, value.as_bytes())
    }
}

impl<'a> Reader<'a> {
    /// Returns a reader with values of type `T`.
    ///
    /// # Errors
    /// [`MapError::ValueLength`] when `T` does not have the map's value length.
    pub fn typed<T: Value>(self) -> Result<TypedReader<'a, T>, MapError> {
        check::<T>(self.value_len())?;
        Ok(TypedReader { reader: self, value: PhantomData })
    }
}

impl<T: Value> TypedReader<'_, T> {
    /// Looks `key` up. Returns the value, or why there is none: [`Lookup::Absent`] or [`Lookup::Busy`].
    ///
    /// # Errors
    /// The lookup's outcome when nothing was found.
    // Inlined, because then the value stays in registers, and what is not asked for, of it and of its `Meta`, is not
    // even decoded.
    #[inline(always)]
    pub fn get(&self, key: Key) -> Result<(T, Meta), Lookup> {
        let mix = key.mix();
        let mut value = T::new_zeroed();
        // `T` has no padding, so its bytes are the value's bytes.
        match self.reader.glance(key, mix, value.as_mut_bytes()) {
            Some(Lookup::Found(meta)) => Ok((value, meta)),
            Some(nothing) => Err(nothing),
            None => self.search(u128::from_le_bytes(key.0), mix),
        }
    }

    /// Looks up with a value of its own, so that the one in [`get`](Self::get) need not be in memory.
    #[cold]
    #[inline(never)]
    fn search(&self, key: u128, mix: u64) -> Result<(T, Meta), Lookup> {
        let mut value = T::new_zeroed();
        match self.reader.search(key, mix, value.as_mut_bytes(), READ_TRIES) {
            Lookup::Found(meta) => Ok((value, meta)),
            nothing => Err(nothing),
        }
    }
}
