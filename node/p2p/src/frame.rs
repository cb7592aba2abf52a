//! Frames of the request protocols: a 4-byte big-endian length, then the message. Longer frames than the protocol
//! allows are refused before a byte of them is read; memory grows only as bytes arrive.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads a frame of at most `max` bytes.
pub(super) async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    io.read_exact(&mut header).await?;
    let len = u32::from_be_bytes(header);
    if usize::try_from(len).map_or(true, |len| len > max) {
        let text = format!("a frame of {len} bytes is above the limit of {max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    io.take(u64::from(len)).read_to_end(&mut bytes).await?;
    if u32::try_from(bytes.len()) != Ok(len) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Writes a frame of at most `max` bytes.
pub(super) async fn write_frame<T: AsyncWrite + Unpin + Send>(
    io: &mut T,
    bytes: &[u8],
    max: usize,
) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= max);
    let Some(len) = len else {
        let text = format!("a frame of {} bytes is above the limit of {max}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    io.write_all(&len.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

/// What came in place of a request. libp2p says nothing of a request that cannot be read, and we want to know whose it
/// was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

/// A request that cannot be read for what it is, as a request of its own; not one that was cut off on its way.
///
/// # Errors
/// The stream broke.
pub(super) fn or_malformed<R>(read: io::Result<R>) -> io::Result<Result<R, Malformed>> {
    match read {
        Ok(request) => Ok(Ok(request)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(Malformed(error.to_string()))),
        Err(error) => Err(error),
    }
}

/// The peer sent what the protocol does not know.
pub(super) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    const MAX: usize = 1_000;

    #[test]
    fn a_frame_survives_the_wire() {
        let mut wire = Vec::new();
        block_on(write_frame(&mut wire, b"hello", MAX)).unwrap();
        assert_eq!(block_on(read_frame(&mut Cursor::new(wire), MAX)).unwrap(), b"hello");
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_on_both_sides() {
        let long = vec![0; MAX + 1];
        assert_eq!(
            block_on(write_frame(&mut Vec::new(), &long, MAX)).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        let header = u32::MAX.to_be_bytes().to_vec();
        assert_eq!(
            block_on(read_frame(&mut Cursor::new(header), MAX)).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_frame_that_ends_early_is_refused() {
        let mut wire = 10u32.to_be_bytes().to_vec();
        wire.extend_from_slice(b"short");
        assert_eq!(
            block_on(read_frame(&mut Cursor::new(wire), MAX)).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
