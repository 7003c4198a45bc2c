//! The colour of a platform's buttons, and what can be read on it.

use std::{fmt, str::FromStr};

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent([u8; 3]);

/// Not a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a colour such as #1f5fbf")]
pub struct NoColour;

// === impl Accent ===

impl Accent {
    /// As it is written.
    pub const DEFAULT: &str = "#1f5fbf";

    /// What is written on it: whichever of black and white differs more from it. One of them always differs by 4.5 to 1 and more (WCAG 2.2
    /// §1.4.3): where both would differ alike they differ by 4.58.
    pub(crate) fn ink(self) -> &'static str {
        // WCAG 2.2, "contrast ratio": (lighter + 0.05) / (darker + 0.05), of white 1 and black 0.
        let light = self.luminance() + 0.05;
        if 1.05 / light >= light / 0.05 { "#ffffff" } else { "#000000" }
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f32 {
        let linear = |part: u8| {
            let part = f32::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl Default for Accent {
    fn default() -> Self {
        Self([0x1f, 0x5f, 0xbf])
    }
}

impl FromStr for Accent {
    type Err = NoColour;

    fn from_str(text: &str) -> Result<Self, NoColour> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(NoColour)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoColour);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| NoColour)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_on_a_colour_can_be_read() {
        for (colour, ink) in [
            ("#000000", "#ffffff"),
            ("#ffffff", "#000000"),
            ("#1f5fbf", "#ffffff"),
            ("#ffcc00", "#000000"),
            ("#777777", "#000000"),
            ("#767676", "#000000"),
            ("#757575", "#ffffff"),
        ] {
            let accent: Accent = colour.parse().unwrap_or_default();
            assert_eq!((accent.to_string().as_str(), accent.ink()), (colour, ink));
        }
        for step in 0..=255 {
            let accent = Accent([step, 255 - step, step / 2]);
            let light = accent.luminance() + 0.05;
            assert!((1.05 / light).max(light / 0.05) >= 4.5, "{accent}");
        }
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in ["", "#", "red", "#fff", "1f5fbf", "#1f5fbg", "#+f5fbf", "#1f5fbf;}", "#1f5fbf0"] {
            assert_eq!(text.parse::<Accent>(), Err(NoColour), "{text}");
        }
        assert_eq!(Accent::DEFAULT.parse(), Ok(Accent::default()));
    }
}
