//! A PNG encoder for small pictures, and base64 for putting them into the page.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// One byte, black to white.
    Grey,
    /// Four bytes: red, green, blue, opacity.
    Rgba,
}

/// A picture as a `data:` address. `pixels` are rows from the top; what is missing reads as zero.
pub(super) fn data_uri(width: usize, height: usize, colour: Colour, pixels: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(&encode(width, height, colour, pixels)))
}

fn encode(width: usize, height: usize, colour: Colour, pixels: &[u8]) -> Vec<u8> {
    let (kind, channels) = match colour {
        Colour::Grey => (0, 1),
        Colour::Rgba => (6, 4),
    };
    let mut header = Vec::new();
    header.extend_from_slice(&(width as u32).to_be_bytes());
    header.extend_from_slice(&(height as u32).to_be_bytes());
    // Eight bits a channel, then the colour type, and the only compression, filter set and no interlacing.
    header.extend_from_slice(&[8, kind, 0, 0, 0]);

    let stride = width * channels;
    let mut rows = Vec::with_capacity((stride + 1) * height);
    for y in 0..height {
        rows.push(0); // Each row begins with its filter; zero is none.
        let start = (y * stride).min(pixels.len());
        rows.extend_from_slice(&pixels[start..(start + stride).min(pixels.len())]);
        rows.resize((stride + 1) * (y + 1), 0);
    }
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to a vector cannot fail.
    let written = deflate.write_all(&rows);
    let data = written.and_then(|()| deflate.finish()).unwrap_or_default();

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &data);
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(data);
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    png.extend_from_slice(name);
    png.extend_from_slice(data);
    png.extend_from_slice(&crc.sum().to_be_bytes());
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_png_holds_its_rows() {
        let png = encode(2, 2, Colour::Grey, &[1, 2, 3]);
        assert_eq!(&png[12..29], b"IHDR\0\0\0\x02\0\0\0\x02\x08\0\0\0\0");
        let length = u32::from_be_bytes(png[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&png[41..41 + length]), &mut rows)
            .unwrap();
        assert_eq!(rows, [0, 1, 2, 0, 3, 0]);
        assert_eq!(&png[png.len() - 4..], [0xae, 0x42, 0x60, 0x82], "the well-known CRC of an empty IEND");
    }
}
