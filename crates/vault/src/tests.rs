//! Files as a hub has them: ranges are the bytes that were written, whatever is damaged is found, and what was kept is there.

use std::io::{Read as _, Seek as _, SeekFrom};

use super::*;
use crate::segment::{RAW, SEGMENT};

/// A generator of numbers that look random (SplitMix64, Steele and others 2014): each run sees the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

struct Place {
    folder: tempfile::TempDir,
    key: String,
    vault: Vault,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let key = Masters::generate().unwrap();
    let vault = opened(&folder, &key);
    for name in ["kept", "growing"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    Place { folder, key, vault }
}

fn opened(folder: &tempfile::TempDir, keys: &str) -> Vault {
    let (kept, growing) = (folder.path().join("kept"), folder.path().join("growing"));
    Vault::new(vec![kept], growing, Masters::parse(keys).unwrap())
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        let writer = self.vault.create(&path).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap();
        path
    }
}

fn all(vault: &Vault, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    vault.read(path)?.cursor().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn range(reader: &Reader, mut from: u64, end: u64, wait: Wait) -> Result<Vec<u8>> {
    let (mut bytes, mut memory) = (Vec::new(), Vec::new());
    while from < end {
        let most = usize::try_from(end - from).unwrap();
        let mut here = reader.read(&mut memory, from, most, wait)?;
        if here.is_empty() {
            here = reader.read(&mut memory, from, most, Wait::Yes)?;
        }
        assert!(!here.is_empty() && here.len() <= most, "{from}..{end}: {here:?}");
        from += here.len() as u64;
        bytes.extend_from_slice(&memory[here]);
    }
    Ok(bytes)
}

#[test]
fn ten_thousand_ranges_are_what_was_written() {
    let (place, mut numbers) = (place(), Numbers(1));
    let lengths = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT, 9 * SEGMENT + 12_345];
    let mut asked = 0;
    for (number, length) in lengths.into_iter().enumerate() {
        let bytes = numbers.bytes(length);
        for path in [format!("kept/{number}"), format!("open-{number}")] {
            let path = place.write(&path, &bytes);
            let raw = std::fs::read(&path).unwrap();
            let sealed = place.vault.seals(&path);
            assert_eq!(sealed, raw != bytes);
            let clear = raw.windows(16).any(|part| bytes.len() > 64 && part == &bytes[..16]);
            assert_eq!(clear, !sealed && bytes.len() > 64);
            assert_eq!(place.vault.length_of(&path, raw.len() as u64), Some(length as u64));
            assert_eq!(all(&place.vault, &path).unwrap(), bytes);
            let reader = place.vault.read(&path).unwrap();
            assert_eq!(reader.length(), length as u64);
            if !sealed || length == 0 {
                continue;
            }
            for _ in 0..10_000 / 6 + 1 {
                let from = numbers.below(length as u64);
                // Most are as players ask for them, some are long.
                let most = if numbers.below(4) == 0 { u64::MAX } else { 3000 };
                let end = from + 1 + numbers.below((length as u64 - from).min(most));
                let end = end.min(length as u64);
                let wait = if numbers.below(2) == 0 { Wait::Yes } else { Wait::No };
                let got = range(&reader, from, end, wait).unwrap();
                assert_eq!(got, bytes[from as usize..end as usize], "{from}..{end}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 10_000, "{asked}");
}

#[test]
fn a_thousand_flipped_bits_are_found_and_none_is_served() {
    let (place, mut numbers) = (place(), Numbers(2));
    let bytes = numbers.bytes(3 * SEGMENT + 777);
    let path = place.write("kept/a", &bytes);
    let good = std::fs::read(&path).unwrap();
    for _ in 0..1000 {
        let bit = numbers.below(good.len() as u64 * 8);
        let mut bad = good.clone();
        bad[(bit / 8) as usize] ^= 1 << (bit % 8);
        std::fs::write(&path, &bad).unwrap();
        let found = place.vault.read(&path).and_then(|reader| {
            // Whatever is served before the error is what was written.
            let (mut from, mut memory) = (0, Vec::new());
            while from < reader.length() {
                let here = reader.read(&mut memory, from, SEGMENT, Wait::Yes)?;
                assert_eq!(memory[here.clone()], bytes[from as usize..from as usize + here.len()]);
                from += here.len() as u64;
            }
            Ok(())
        });
        assert!(found.is_err(), "bit {bit}");
    }
}

#[test]
fn what_was_cut_or_exchanged_is_found() {
    let (place, mut numbers) = (place(), Numbers(3));
    let bytes = numbers.bytes(4 * SEGMENT + 5);
    let path = place.write("kept/a", &bytes);
    let other = std::fs::read(place.write("kept/b", &bytes)).unwrap();
    let good = std::fs::read(&path).unwrap();
    let head = header::HEADER;
    let segment = |index: usize| head + index * RAW..head + (index + 1) * RAW;
    let mut forged = vec![Vec::new(), b"plain bytes".to_vec(), bytes.clone()];
    forged.push(good[..segment(3).start].to_vec());
    forged.push(good[..segment(3).start + 40].to_vec());
    forged.push(good[..good.len() - 1].to_vec());
    forged.push([&good[..], &[0]].concat());
    forged.push(
        [&good[..segment(1).start], &good[segment(2)], &good[segment(1)], &good[segment(3).start..]].concat(),
    );
    forged.push([&good[..segment(2).start], &good[segment(3).start..]].concat());
    forged.push([&good[..segment(1).start], &other[segment(1)], &good[segment(2).start..]].concat());
    forged.push([&other[..head], &good[head..]].concat());
    for (number, bad) in forged.into_iter().enumerate() {
        std::fs::write(&path, bad).unwrap();
        assert!(all(&place.vault, &path).is_err(), "forgery {number}");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(all(&place.vault, &path).unwrap(), bytes);
}

#[test]
fn a_cursor_goes_anywhere() {
    let (place, mut numbers) = (place(), Numbers(4));
    let bytes = numbers.bytes(3 * SEGMENT);
    let path = place.write("kept/a", &bytes);
    let mut cursor = place.vault.read(&path).unwrap().cursor();
    for _ in 0..300 {
        let from = numbers.below(bytes.len() as u64);
        let mut into = vec![0; numbers.below(bytes.len() as u64 - from).min(5000) as usize];
        cursor.seek(SeekFrom::Start(from)).unwrap();
        cursor.read_exact(&mut into).unwrap();
        assert_eq!(into, bytes[from as usize..from as usize + into.len()]);
    }
    assert_eq!(cursor.seek(SeekFrom::End(-1)).unwrap(), bytes.len() as u64 - 1);
    let mut one = Vec::new();
    assert_eq!(cursor.read_to_end(&mut one).unwrap(), 1);
    assert!(cursor.seek(SeekFrom::Current(-(bytes.len() as i64) - 1)).is_err());
}

/// A writer is dropped anywhere, as by a crash: what was kept is there, and can be gone on with.
#[test]
fn what_was_kept_outlives_a_crash() {
    let (place, mut numbers) = (place(), Numbers(5));
    for life in 0..60 {
        let path = place.at(&format!("growing/{life}"));
        let bytes = numbers.bytes(numbers_of(&mut Numbers(life), 4 * SEGMENT));
        let (mut kept, mut said) = (0, 0_usize);
        while said < bytes.len() {
            let writer = place.vault.go_on(&path, said as u64).unwrap();
            kept = said;
            for _ in 0..=numbers.below(3) {
                let end = bytes.len().min(kept + 1 + numbers.below(2 * SEGMENT as u64) as usize);
                writer.write_all(&bytes[kept..end]).unwrap();
                kept = end;
                match numbers.below(3) {
                    0 => writer.flush().unwrap(),
                    // The crash comes before the store hears of it.
                    1 => writer.keep().unwrap(),
                    _ => {
                        writer.keep().unwrap();
                        said = kept;
                    }
                }
                if numbers.below(4) == 0 {
                    writer.cut(said as u64).unwrap();
                    kept = said;
                }
            }
        }
        assert!(kept >= said && place.vault.read(&path).is_err(), "it is not at its end");
        // It is ended, and the crash comes before anybody hears of it.
        for _ in 0..2 {
            place.vault.finish(&path, bytes.len() as u64).unwrap();
            assert_eq!(all(&place.vault, &path).unwrap(), bytes);
        }
    }
    assert_eq!(std::fs::read_dir(place.at("growing")).unwrap().count(), 60, "nothing is left beside them");
}

fn numbers_of(numbers: &mut Numbers, most: usize) -> usize {
    // Ends of segments are where mistakes are.
    match numbers.below(4) {
        0 => SEGMENT,
        1 => 2 * SEGMENT,
        _ => 1 + numbers.below(most as u64) as usize,
    }
}

#[test]
fn a_torn_write_takes_nothing_that_was_kept() {
    let place = place();
    let path = place.at("growing/a");
    let bytes = Numbers(6).bytes(2 * SEGMENT);
    let writer = place.vault.create(&path).unwrap();
    writer.write_all(&bytes[..SEGMENT / 2]).unwrap();
    writer.keep().unwrap();
    writer.write_all(&bytes[SEGMENT / 2..]).unwrap();
    drop(writer);
    // The length is on the disk, the bytes are not.
    let mut raw = std::fs::read(&path).unwrap();
    let end = raw.len();
    raw[header::HEADER..end].fill(0);
    std::fs::write(&path, raw).unwrap();
    let writer = place.vault.go_on(&path, SEGMENT as u64 / 2).unwrap();
    writer.write_all(&bytes[SEGMENT / 2..]).unwrap();
    writer.finish().unwrap();
    assert_eq!(all(&place.vault, &path).unwrap(), bytes);
    let gone = place.vault.go_on(&path, 5 * SEGMENT as u64).err().unwrap();
    assert!(gone.to_string().contains("gone"), "{gone}");
}

/// Power is cut after more came than was made safe.
#[test]
fn what_came_later_takes_nothing_with_it() {
    let place = place();
    let path = place.at("growing/a");
    let bytes = Numbers(9).bytes(4 * SEGMENT);
    let said = SEGMENT / 2;
    let writer = place.vault.create(&path).unwrap();
    writer.write_all(&bytes[..said]).unwrap();
    writer.keep().unwrap();
    writer.write_all(&bytes[said..]).unwrap();
    drop(writer);
    // Of what came later nothing is on the disk.
    let raw = std::fs::read(&path).unwrap();
    std::fs::write(&path, &raw[..header::HEADER]).unwrap();
    let writer = place.vault.go_on(&path, said as u64).unwrap();
    writer.write_all(&bytes[said..]).unwrap();
    writer.finish().unwrap();
    assert_eq!(all(&place.vault, &path).unwrap(), bytes);
    // It goes on after its end, too.
    place.vault.finish(&path, bytes.len() as u64).unwrap();
    let more = Numbers(10).bytes(SEGMENT + 9);
    for part in [&more[..7], &more[7..]] {
        let length = std::fs::metadata(&path).unwrap().len();
        let length = place.vault.length_of(&path, length).unwrap();
        let writer = place.vault.go_on(&path, length).unwrap();
        writer.write_all(part).unwrap();
        writer.finish().unwrap();
    }
    assert_eq!(all(&place.vault, &path).unwrap(), [bytes, more].concat());
}

#[cfg(unix)]
#[test]
fn a_name_that_leads_here_is_known() {
    let place = place();
    let path = place.write("kept/a", b"film");
    std::os::unix::fs::symlink(place.at("kept"), place.at("elsewhere")).unwrap();
    let other = place.at("elsewhere/a");
    assert!(place.vault.seals(&other) && !place.vault.seals(&place.at("a")));
    assert_eq!(all(&place.vault, &other).unwrap(), b"film");
    assert_ne!(std::fs::read(&path).unwrap(), b"film");
}

#[test]
fn what_is_encrypted_with_another_key_is_not_encrypted_once_more() {
    let place = place();
    place.write("kept/a", b"film");
    let before = std::fs::read(place.at("kept/a")).unwrap();
    let other = opened(&place.folder, &Masters::generate().unwrap());
    let why = other.convert().unwrap_err().to_string();
    assert!(why.contains("kept/a") && why.contains("no master key that is given opens it"), "{why}");
    assert_eq!(std::fs::read(place.at("kept/a")).unwrap(), before);
}

#[test]
fn what_was_there_is_encrypted_once() {
    let place = place();
    let (open, mut numbers) = (Vault::open_to_all(), Numbers(7));
    let write = |name: &str, bytes: &[u8]| {
        let path = place.at(name);
        let writer = open.create(&path).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap();
        path
    };
    std::fs::create_dir(place.at("kept/more")).unwrap();
    let bytes = numbers.bytes(2 * SEGMENT + 9);
    let kept = [write("kept/a.tail", &bytes), write("kept/more/b", &[])];
    let growing = write("growing/c", &bytes[..SEGMENT + 3]);
    let outside = write("d", &bytes);
    write("kept/.kinora-sealing-1", &bytes[..50]);
    let time = std::fs::metadata(&kept[0]).unwrap().modified().unwrap();
    let done = place.vault.convert().unwrap();
    assert_eq!(done, Converted { files: 3, bytes: (bytes.len() + SEGMENT + 3) as u64 });
    assert_eq!(place.vault.convert().unwrap(), Converted::default(), "once");
    assert_eq!(all(&place.vault, &kept[0]).unwrap(), bytes);
    assert_eq!(all(&place.vault, &kept[1]).unwrap(), b"");
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().modified().unwrap(), time);
    assert_eq!(std::fs::read(outside).unwrap(), bytes);
    assert!(!place.at("kept/.kinora-sealing-1").exists());
    // The upload goes on where it was.
    let writer = place.vault.go_on(&growing, (SEGMENT + 3) as u64).unwrap();
    writer.write_all(&bytes[SEGMENT + 3..]).unwrap();
    writer.keep().unwrap();
    place.vault.finish(&growing, bytes.len() as u64).unwrap();
    assert_eq!(all(&place.vault, &growing).unwrap(), bytes);
    // A plain file put there later is none of ours.
    std::fs::write(&kept[1], b"forged").unwrap();
    assert!(all(&place.vault, &kept[1]).is_err());
}

#[test]
fn another_master_key_opens_all_without_writing_it_again() {
    let place = place();
    let bytes = Numbers(8).bytes(SEGMENT * 2);
    let path = place.write("kept/a", &bytes);
    let before = std::fs::read(&path).unwrap();
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let new = Masters::generate().unwrap();
    let both = opened(&place.folder, &format!("{new}\n{}", place.key));
    assert_eq!(all(&both, &path).unwrap(), bytes);
    std::fs::write(place.at("kept/odd"), [1; 20_000]).unwrap();
    let done = both.rewrap(|| true).unwrap();
    assert_eq!((done.files, done.lost.len()), (1, 1), "{done:?}");
    assert!(done.lost[0].contains("odd"), "{done:?}");
    assert_eq!(both.rewrap(|| true).unwrap().files, 0);
    assert!(both.rewrap(|| false).is_err());
    let after = std::fs::read(&path).unwrap();
    assert_eq!(before[header::HEADER..], after[header::HEADER..], "its bytes are as they were");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
    assert_eq!(all(&opened(&place.folder, &new), &path).unwrap(), bytes);
    let old = place.vault.read(&path).err().unwrap().to_string();
    assert!(old.contains("no master key that is given opens it"), "{old}");
}
