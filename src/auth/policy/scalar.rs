//! Numbers, dates, addresses and binary values in conditions.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A decimal number in units of 10⁻⁹, so that 0.1 is 0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decimal(i128);

/// An instant, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(i128);

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    is_v4: bool,
    /// The bits that count, from the left.
    bits: u128,
    mask: u128,
}

impl Decimal {
    /// Reads an integer or a decimal of at most 20 digits before the point and nine after it, without exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if whole.len() > 20 || fraction.len() > 9 {
            return None;
        }
        let fraction_units = number(fraction)? * 10_i128.pow(9 - fraction.len() as u32);
        let units = number(whole)? * 1_000_000_000 + fraction_units;
        Some(Decimal(if negative { -units } else { units }))
    }
}

impl Instant {
    /// Reads a date of the W3C profile of ISO 8601 (a year, a month, a day, or a time with its zone), or seconds
    /// since the epoch; four digits are a year.
    ///
    /// Source: <https://www.w3.org/TR/NOTE-datetime>
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        match Decimal::parse(text) {
            Some(seconds) if !is_year => Some(Instant(seconds.0)),
            _ => read_date(text),
        }
    }
}

impl Network {
    /// Reads an address or a network such as `203.0.113.0/24` or `2001:db8::/32`; bits after the prefix do not count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text.parse::<IpAddr>().ok()?, None),
            Some((address, prefix)) => (address.parse().ok()?, Some(number(prefix).filter(|_| prefix.len() <= 3)?)),
        };
        let width: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix =
            prefix.map_or(Some(width), |prefix| u32::try_from(prefix).ok().filter(|prefix| *prefix <= width))?;
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let bits = left_bits(address) & mask;
        Some(Network { is_v4: address.is_ipv4(), bits, mask })
    }

    /// Whether an address is in this network; an IPv4 address written as an IPv6 one is the IPv4 one.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.is_v4 == address.is_ipv4() && left_bits(address) & self.mask == self.bits
    }
}

/// Whether a text is canonical base64, of which equal texts are equal bytes.
pub(super) fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

/// An address's bits, the first at the left of 128.
fn left_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn read_date(text: &str) -> Option<Instant> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |part| digits(part, 2))?;
    let day = parts.next();
    // A time is of a day.
    if parts.next().is_some() || (time.is_some() && day.is_none()) {
        return None;
    }
    let day = day.map_or(Some(1), |part| digits(part, 2))?;
    let (hour, minute, second, nanosecond, offset) = time.map_or(Some((0, 0, 0, 0, 0)), read_time)?;
    let narrow = |value: i32| i8::try_from(value).ok();
    let year = i16::try_from(year).ok()?;
    let civil =
        DateTime::new(year, narrow(month)?, narrow(day)?, narrow(hour)?, narrow(minute)?, narrow(second)?, nanosecond);
    let instant = Offset::UTC.to_timestamp(civil.ok()?).ok()?;
    Some(Instant(instant.as_nanosecond() - i128::from(offset) * 1_000_000_000))
}

/// Reads `hh:mm[:ss[.f…]]` with `Z`, `+hh:mm` or `-hh:mm`: hour, minute, second, nanosecond, offset in seconds.
fn read_time(text: &str) -> Option<(i32, i32, i32, i32, i32)> {
    let zone = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone);
    let offset = match zone.split_at(1) {
        ("Z", "") => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            let seconds = (hours * 60 + minutes) * 60;
            match sign {
                "+" if hours < 24 && minutes < 60 => seconds,
                "-" if hours < 24 && minutes < 60 => -seconds,
                _ => return None,
            }
        }
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().unwrap_or("00");
    if parts.next().is_some() {
        return None;
    }
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let nanosecond = number(fraction).filter(|_| fraction.len() <= 9)? * 10_i128.pow(9 - fraction.len() as u32);
    Some((hour, minute, digits(second, 2)?, i32::try_from(nanosecond).ok()?, offset))
}

fn digits(text: &str, len: usize) -> Option<i32> {
    number(text).filter(|_| text.len() == len).and_then(|value| i32::try_from(value).ok())
}

/// Reads digits and nothing else, at most 30 of them.
fn number(text: &str) -> Option<i128> {
    let plain = !text.is_empty() && text.len() <= 30 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_decimals_exactly() {
        let parse = |text| Decimal::parse(text).unwrap();
        assert_eq!(parse("0.1"), parse("0.100"));
        assert_eq!(parse("-5"), parse("-5.0"));
        assert!(parse("-5") < parse("-4.999999999"));
        assert!(parse("9007199254740993") > parse("9007199254740992"));
        for bad in ["", "-", "1.", ".5", "1e3", "0x1", " 1", "1.0000000001", "--1", "1_0", "٣"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_dates_and_epochs() {
        let epoch = Instant::parse("1767225600").unwrap();
        for same in [
            "2026",
            "2026-01",
            "2026-01-01",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T02:00:00+02:00",
            "2025-12-31T19:30:00-04:30",
            "1767225600.0",
        ] {
            assert_eq!(Instant::parse(same), Some(epoch), "{same}");
        }
        for bad in [
            "",
            "20260101T",
            "2026-13",
            "2026-02-30",
            "2026-01-01T00:00:00",
            "2026-01T00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01-01",
            "9999-12-31T23:59:59.9999999999Z",
        ] {
            assert_eq!(Instant::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn puts_addresses_into_networks() {
        let contains =
            |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(contains("203.0.113.0/24", "203.0.113.255"));
        assert!(contains("203.0.113.77/24", "203.0.113.1"));
        assert!(!contains("203.0.113.0/24", "203.0.114.0"));
        assert!(contains("203.0.113.0/24", "::ffff:203.0.113.1"));
        assert!(contains("0.0.0.0/0", "255.1.2.3"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("::/0", "1.2.3.4"));
        assert!(contains("10.0.0.1", "10.0.0.1") && !contains("10.0.0.1", "10.0.0.2"));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "::/129", "10.0.0.0/0x8", "10.0.0.0/8/8"]
        {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
