//! Files that are missing, cut off, corrupt or of something else.

use super::*;

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gradus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_that_are_missing_cut_off_corrupt_or_of_something_else() {
    let folder = Folder::new("files");
    let d = Device::cpu();
    let model = |width: usize| {
        let p = Params::new(&d, 0);
        Linear::new(&p.at("layer"), 2, width).map(|_| p)
    };
    let good = folder.0.join("good.safetensors");
    model(3).unwrap().save(&good).unwrap();
    let bytes = std::fs::read(&good).unwrap();
    let cut = folder.write("cut.safetensors", &bytes[..bytes.len() - 5]);
    let noise = folder.write("noise.safetensors", &[0xff; 64]);
    let empty = folder.write("empty.safetensors", &[]);
    let mut header = bytes.clone();
    header[12] = b'!';
    let header = folder.write("header.safetensors", &header);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let packed = std::fs::read(source).unwrap();
    let truncated = folder.write("truncated.gz", &packed[..packed.len() / 2]);
    let not_idx = folder.write("not-idx", b"hello, I am a text file and not a picture");
    let absent = folder.0.join("absent");
    let blocked = folder.write("a-file", b"");
    let load = |path: &Path, width| model(width)?.load(path);
    check(vec![
        call("Io", "absent", || load(&absent, 3)),
        call("Format", "cut.safetensors", || load(&cut, 3)),
        call("Format", "noise.safetensors", || load(&noise, 3)),
        call("Format", "empty.safetensors", || load(&empty, 3)),
        call("Format", "header.safetensors", || load(&header, 3)),
        call("Format", "layer.weight", || load(&good, 4)),
        call("Format", "good.safetensors", || Checkpoint::load(&good, &model(3)?, None)),
        call("Format", "good.safetensors", || {
            let p = model(3)?;
            Linear::new(&p.at("second"), 2, 2)?;
            p.load(&good)
        }),
        call("Io", "a-file", || model(3)?.save(blocked.join("inside.safetensors"))),
        call("Io", "absent", || idx::read(&absent)),
        call("Format", "truncated.gz", || idx::read(&truncated)),
        call("Format", "not-idx", || idx::read(&not_idx)),
        call("Io", "train-images", || FashionMnist::from_dir(&folder.0)),
        call("Shape", "pixels", || ImageSet::new(vec![0; 5], vec![0], 2, 2)),
        call("Argument", "batch", || Batches::new(10, 0, 0)),
    ]);
    // Nothing was lost: what loads after a failure is what was saved.
    let p = model(3).unwrap();
    let before = p.get("layer.weight").unwrap().get().to_vec::<f32>().unwrap();
    assert!(p.load(&cut).is_err());
    assert_eq!(p.get("layer.weight").unwrap().get().to_vec::<f32>().unwrap(), before);
}
