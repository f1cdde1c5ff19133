//! Writes the roles of both providers to the folder given as the first argument.

use capn_controllers::{args::Provider, rbac};
use k8s_openapi::serde::Serialize;
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::args()
        .nth(1)
        .ok_or("usage: rbacgen FOLDER, such as rbacgen config/rbac")?;
    for (folder, provider) in [("nested", Provider::Nested), ("kubevirt", Provider::Kubevirt)] {
        let folder = Path::new(&target).join(folder);
        fs::create_dir_all(&folder)?;
        write(&folder, "manager_role.yaml", &rbac::manager(provider))?;
        write(&folder, "aggregated_manager_role.yaml", &rbac::core(provider))?;
        write(&folder, "leader_election_role.yaml", &rbac::leader_election())?;
        if provider == Provider::Nested {
            write(&folder, "bootstrap_reader_role.yaml", &rbac::bootstrap_reader())?;
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, object: &impl Serialize) -> Result<(), Box<dyn Error>> {
    Ok(fs::write(folder.join(name), serde_saphyr::to_string(object)?)?)
}
