//! A QR code (ISO/IEC 18004) as the path of an SVG that stands in the page itself: nothing is loaded for it, and the page's policy allows
//! no more than without it.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel};

/// Light modules around it, as the standard wants them for a reader to find it.
const QUIET: usize = 4;

/// A text as a picture of squares.
pub(super) struct QrCode {
    /// Modules from one edge to the other, with those around it.
    pub(super) side: usize,
    /// The dark ones, as the data of a path whose unit is a module.
    pub(super) dark: String,
}

// === impl QrCode ===

impl QrCode {
    /// `None`: the text is longer than a code can be (some 2300 bytes).
    pub(super) fn of(text: &str) -> Option<Self> {
        let code = qrcode::QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let (width, modules) = (code.width(), code.to_colors());
        let mut dark = String::new();
        for (row, line) in modules.chunks(width).enumerate() {
            let mut column = 0;
            for run in line.chunk_by(|one, other| one == other) {
                if run[0] == Color::Dark {
                    let (x, y, wide) = (column + QUIET, row + QUIET, run.len());
                    // To write to a text never fails.
                    let _ = write!(dark, "M{x} {y}h{wide}v1h-{wide}z");
                }
                column += run.len();
            }
        }
        Some(Self { side: width + 2 * QUIET, dark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_dark_where_the_code_is_and_light_around_it() {
        let uri =
            "otpauth://totp/Portcullis:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Portcullis";
        let (drawn, code) = (QrCode::of(uri).expect("a code"), qrcode::QrCode::new(uri).expect("a code"));
        assert_eq!(drawn.side, code.width() + 8);
        let mut squares = vec![vec![false; drawn.side]; drawn.side];
        for run in drawn.dark.split_terminator('z') {
            let (place, shape) = run.strip_prefix('M').and_then(|run| run.split_once('h')).expect("a run");
            let (x, y) = place.split_once(' ').expect("a place");
            let (wide, back) = shape.split_once("v1h-").expect("a shape");
            assert_eq!(wide, back);
            let (x, y): (usize, usize) = (x.parse().expect("a column"), y.parse().expect("a row"));
            squares[y][x..x + wide.parse::<usize>().expect("a length")].fill(true);
        }
        for (y, row) in squares.iter().enumerate() {
            for (x, is_dark) in row.iter().enumerate() {
                let within = (4..4 + code.width()).contains(&x) && (4..4 + code.width()).contains(&y);
                assert_eq!(*is_dark, within && code[(x - 4, y - 4)] == Color::Dark, "{x} {y}");
            }
        }
    }

    #[test]
    fn what_is_too_long_for_a_code_has_none() {
        assert!(QrCode::of(&"x".repeat(4000)).is_none());
    }
}
