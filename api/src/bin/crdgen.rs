//! Writes the CRDs of both providers to the folder given as the first argument, one file a kind.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::args()
        .nth(1)
        .ok_or("usage: crdgen FOLDER, such as crdgen config/crd")?;
    for (provider, crds) in [
        ("nested", capn_api::control_plane_crds()),
        ("kubevirt", capn_api::infrastructure_crds()),
    ] {
        let folder = Path::new(&target).join(provider);
        fs::create_dir_all(&folder)?;
        for crd in crds {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            fs::write(folder.join(name), serde_saphyr::to_string(&crd)?)?;
        }
    }
    Ok(())
}
