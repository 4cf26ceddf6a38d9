use proptest::prelude::*;

use super::*;
use crate::domain::{FileEntry, FileInfo, FileKind, FileOwner, FileTime, FileVersion};

/// All that an archive holds, fed in pieces of that size; or why it is refused.
fn read(archive: &[u8], piece: usize) -> Result<Vec<(FileEntry, Vec<u8>)>, String> {
    let mut reader = ArchiveReader::default();
    let mut found: Vec<(FileEntry, Vec<u8>)> = Vec::new();
    for piece in archive.chunks(piece) {
        reader.push(piece);
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Entry(entry) => found.push((entry, Vec::new())),
                Piece::Content(bytes) => found.last_mut().unwrap().1.extend_from_slice(&bytes),
            }
        }
    }
    reader.finish().map(|()| found)
}

fn write(entries: &[(FileEntry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ArchiveWriter::default();
    let mut out = Vec::new();
    for (entry, content) in entries {
        out.extend(writer.entry(entry));
        out.extend(content);
    }
    out.extend(writer.end());
    out
}

fn entry(kind: FileKind, name: &[u8], target: &[u8], size: u64) -> FileEntry {
    let modified = FileTime { seconds: 1_700_000_000, nanoseconds: 0 };
    let version = FileVersion { size, modified, ..FileVersion::default() };
    let owner = FileOwner { user: 1000, group: 100 };
    FileEntry {
        name: name.to_vec(),
        info: FileInfo { kind, size, mode: 0o640, owner, modified, target: target.to_vec(), version },
    }
}

/// One entry as the tar crate writes it, with whatever name and type.
fn raw(kind: u8, name: &[u8], target: &[u8], size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1);
    header.set_uid(0);
    header.set_gid(0);
    let bytes = header.as_mut_bytes();
    bytes[156] = kind;
    bytes[..name.len()].copy_from_slice(name);
    bytes[157..157 + target.len()].copy_from_slice(target);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn ended(mut archive: Vec<u8>) -> Vec<u8> {
    archive.extend([0; 2 * BLOCK]);
    archive
}

#[test]
fn what_is_written_is_read() {
    let long = [b"deep/".repeat(60), vec![0xff; 200]].concat();
    let entries = vec![
        (entry(FileKind::Directory, b"dir", b"", 0), vec![]),
        (entry(FileKind::File, b"dir/file", b"", 1000), vec![7; 1000]),
        (entry(FileKind::File, b"empty", b"", 0), vec![]),
        (entry(FileKind::Link, b"dir/link", b"/some/where/../else", 0), vec![]),
        (entry(FileKind::HardLink, b"hard", b"dir/file", 0), vec![]),
        (entry(FileKind::File, &long, b"", 512), vec![1; 512]),
        (entry(FileKind::Link, b"far", &[b'x'; 3000], 0), vec![]),
        (entry(FileKind::Directory, &[b'd'; 100], b"", 0), vec![]),
    ];
    let archive = write(&entries);
    for piece in [1, 7, 512, 4096, archive.len()] {
        assert_eq!(read(&archive, piece).unwrap(), entries);
    }
    // Other readers agree.
    let mut theirs = tar::Archive::new(&archive[..]);
    let names: Vec<Vec<u8>> = theirs.entries().unwrap().map(|one| one.unwrap().path_bytes().into_owned()).collect();
    assert_eq!(names[1], b"dir/file");
    assert_eq!((&names[0][..], &names[5]), (&b"dir/"[..], &long));

    let mut early = entry(FileKind::File, b"early", b"", 0);
    early.info.modified = FileTime { seconds: -5, nanoseconds: 0 };
    let mut huge = entry(FileKind::Directory, b"late", b"", 0);
    huge.info.modified = FileTime { seconds: 1 << 40, nanoseconds: 0 };
    let back = read(&write(&[(early, vec![]), (huge, vec![])]), 512).unwrap();
    assert_eq!((back[0].0.info.modified.seconds, back[1].0.info.modified.seconds), (-5, 1 << 40));
    let large = ArchiveWriter::default().entry(&entry(FileKind::File, b"large", b"", 1 << 40));
    let mut reader = ArchiveReader::default();
    reader.push(&large);
    assert!(matches!(reader.next(), Ok(Some(Piece::Entry(found))) if found.info.size == 1 << 40));
}

#[test]
fn other_writers_are_understood() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o100_755);
    header.set_uid(70_000);
    let long = "a/".repeat(100) + "b";
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "link", &long).unwrap();
    let found = read(&builder.into_inner().unwrap(), 1000).unwrap();
    assert_eq!((found[0].0.name.as_slice(), &found[0].1[..]), (long.as_bytes(), &b"abc"[..]));
    assert_eq!((found[0].0.info.mode, found[0].0.info.owner.user), (0o755, 70_000));
    assert_eq!(found[1].0.info.target, long.as_bytes());

    // `tar -C dir .`, and what git puts in front.
    let comment = b"52 comment=0123456789012345678901234567890123456789\n";
    let mut archive = raw(b'g', b"pax_global_header", b"", comment.len() as u64);
    archive.extend(comment);
    archive.resize(2 * BLOCK, 0);
    archive.extend(raw(b'5', b"./", b"", 0));
    archive.extend(raw(b'5', b"./dir/", b"", 0));
    archive.extend(raw(0, b"old/", b"", 0));
    archive.extend(raw(b'0', b"././dir/file", b"", 0));
    let found = read(&ended(archive), 1).unwrap();
    let names: Vec<&[u8]> = found.iter().map(|(entry, _)| &entry.name[..]).collect();
    assert_eq!(names, [&b"dir"[..], b"old", b"dir/file"]);
    assert_eq!(found[1].0.info.kind, FileKind::Directory);

    let times = b"30 mtime=1700000000.123456789\n";
    let mut archive = raw(b'x', b"x", b"", times.len() as u64 + 20);
    archive.extend(times);
    archive.extend(b"20 mtime=-1.75000000");
    let end = archive.len() - 1;
    archive[end] = b'\n';
    archive.resize(2 * BLOCK, 0);
    archive.extend(raw(b'0', b"file", b"", 0));
    let modified = read(&ended(archive), 100).unwrap()[0].0.info.modified;
    assert_eq!(modified, FileTime { seconds: -2, nanoseconds: 250_000_000 });
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let cases: &[(u8, &[u8], &[u8])] = &[
        (b'0', b"/etc/passwd", b""),
        (b'0', b"../x", b""),
        (b'0', b"a/../../x", b""),
        (b'0', b"a/..", b""),
        (b'0', b"a//b", b""),
        (b'0', b"a/./b", b""),
        (b'0', b"", b""),
        (b'0', b".", b""),
        (b'5', b"..", b""),
        (b'5', b"/", b""),
        (b'1', b"hard", b"/etc/passwd"),
        (b'1', b"hard", b"../outside"),
        (b'1', b"hard", b""),
        (b'2', b"link", b""),
        (b'3', b"null", b""),
        (b'4', b"disk", b""),
        (b'6', b"pipe", b""),
        (b'7', b"contiguous", b""),
        (b'S', b"sparse", b""),
        (b'D', b"dump", b""),
        (b'M', b"part", b""),
        (b'V', b"label", b""),
        (b'Z', b"?", b""),
    ];
    for (kind, name, target) in cases {
        let archive = ended([raw(b'0', b"fine", b"", 0), raw(*kind, name, target, 0)].concat());
        assert!(read(&archive, 512).is_err(), "{} {:?}", *kind as char, String::from_utf8_lossy(name));
    }
    let long = |length: usize| vec![b'n'; length];
    for (name, fits) in
        [(long(255), true), (long(256), false), (b"a/".repeat(160), false), (b"ab/".repeat(2000), false)]
    {
        let mut name = name;
        name.push(b'x');
        let name = &name[usize::from(fits)..];
        let archive = write(&[(entry(FileKind::File, name, b"", 0), vec![])]);
        assert_eq!(read(&archive, 512).is_ok(), fits, "{}", name.len());
    }
    let with_content = ended([raw(b'5', b"dir/", b"", 512), vec![0; 512]].concat());
    assert!(read(&with_content, 512).unwrap_err().contains("content"));
}

#[test]
fn what_is_no_archive_is_refused() {
    let good = write(&[(entry(FileKind::File, b"f", b"", 3), vec![1; 3])]);
    for cut in [1, 511, 512, 513, 515, 1023, 1024] {
        assert!(read(&good[..cut], 100).is_err(), "cut at {cut}");
    }
    assert!(read(&good[..1536], 100).is_ok(), "one block of zeros is an end");
    assert!(read(b"", 1).is_err());
    assert!(read(&[0; 1024], 512).unwrap().is_empty());
    assert!(read(&[b"\x1f\x8b".to_vec(), vec![1; 1000]].concat(), 99).unwrap_err().contains("compressed"));
    assert!(read(&[1; 1024], 99).unwrap_err().contains("header"));

    let extended = |records: &[u8]| {
        let mut archive = raw(b'x', b"x", b"", records.len() as u64);
        archive.extend(records);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        archive.extend(raw(b'0', b"file", b"", 0));
        read(&ended(archive), 300)
    };
    assert!(extended(b"12 path=ab/c\n").is_err(), "a length that is wrong");
    assert_eq!(extended(b"13 path=ab/c\n").unwrap()[0].0.name, b"ab/c");
    let bad: &[&[u8]] = &[
        b"13 path=/b/c\n",
        b"14 path=../../",
        b"22 GNU.sparse.major=1\n",
        b"19 GNU.sparse.size\n",
        b"11 size=-1\n",
        b"99999999999999999999 path=x\n",
        b"0 path=x\n",
        b"-5 path=x\n",
        b"path=x\n",
        b"12 path=a\0bc\n",
        b"30 size=99999999999999999999999\n",
        b"12 uid=root \n",
    ];
    for records in bad {
        assert!(extended(records).is_err(), "{:?}", String::from_utf8_lossy(records));
    }
    let many = raw(b'x', b"x", b"", 0).repeat(9);
    assert!(read(&ended([many, raw(b'0', b"f", b"", 0)].concat()), 512).unwrap_err().contains("too much"));
    assert!(read(&ended(raw(b'x', b"x", b"", 1 << 30)), 512).unwrap_err().contains("too much"));
    assert!(read(&ended(raw(b'x', b"x", b"", 0)), 512).is_err(), "nothing after it");
    let global = b"13 path=ab/c\n";
    let mut archive = raw(b'g', b"g", b"", global.len() as u64);
    archive.extend(global);
    archive.resize(2 * BLOCK, 0);
    assert!(read(&ended(archive), 512).unwrap_err().contains("all entries"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_lead_out(
        mut blocks in prop::collection::vec(any::<u8>(), 0..3000),
        kinds in prop::collection::vec((any::<u8>(), "[./a-c\0]{0,20}", "[./a-c]{0,20}", 0_u64..2000), 0..5),
        piece in 1_usize..2000,
    ) {
        let mut archive: Vec<u8> = Vec::new();
        for (kind, name, target, size) in kinds {
            archive.extend(raw(kind, name.as_bytes(), target.as_bytes(), size));
            blocks.truncate(3000);
            archive.extend(&blocks);
        }
        let mut reader = ArchiveReader::default();
        'all: for piece in archive.chunks(piece) {
            reader.push(piece);
            loop {
                match reader.next() {
                    Ok(Some(Piece::Entry(entry))) => {
                        let name = String::from_utf8_lossy(&entry.name).into_owned();
                        prop_assert!(!name.is_empty() && !name.starts_with('/'), "{name}");
                        prop_assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")), "{name}");
                    }
                    Ok(Some(Piece::Content(_))) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }
}

/// Packed tightly, a script or two are less than one block.
#[test]
fn what_is_compressed_is_told_so_however_small() {
    for begins in [&b"\x1f\x8b\x08\0"[..], b"\x28\xb5\x2f\xfd\0", b"BZh9"] {
        for length in [begins.len(), 100, 511, 512, 5000] {
            let mut archive = begins.to_vec();
            archive.resize(length.max(begins.len()), 7);
            for piece in [1, 100, 10_000] {
                assert!(read(&archive, piece).unwrap_err().contains("compressed"), "{length} in pieces of {piece}");
            }
        }
    }
    assert_eq!(read(b"no tar", 100).unwrap_err(), "no end");
}
